"""Publish the voices that speak before any training: the bundled prompts with the base of nano."""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path

from common.files import sha256_of_file
from common.storage_keys import checkpoint, voice_file
from core.errors import BadAudio, ConsentMissing, NotFound
from core.media.decode import decode
from core.records import ConsentSource, NewCheckpointRecord, NewConsentRecord, NewVoiceRecord, Records
from core.settings import REPOSITORY, Settings
from core.storage import Storage
from core.voices.prompt_catalog import (
    CatalogPrompt,
    bundled_voice_id,
    load_prompt_catalog,
)

logger = logging.getLogger(__name__)

BASE = REPOSITORY / "GPT_SoVITS" / "base"
VERSION = "nano"
KINDS = ("gpt", "sovits")
PUBLISHED_KEY = "voices/bundled.txt"
"""Storage key of a file that exists once voices were published; it names the base's checkpoints and the voices."""
FIRST_BUNDLED = ("allison",)
"""The voices that versions published which kept no list of them."""


async def publish_bundled_voices(settings: Settings, records: Records, storage: Storage) -> None:
    """Create a voice for every prompt of the catalog, once: a voice that was deleted stays deleted.

    A prompt that cannot be used is named in the log; it is tried again at the next start.

    When the base has changed, the remaining voices get the new one. Without a base nothing happens.
    """
    files = {kind: BASE / f"{kind}.safetensors" for kind in KINDS}
    if not all(file.is_file() for file in files.values()):
        logger.warning("There is no base in %s, so no voice speaks before it is trained.", BASE)
        return
    published = await asyncio.to_thread(_published_ids, storage)
    base = {kind: await _store_base(records, storage, kind, file) for kind, file in files.items()}
    catalog = load_prompt_catalog(settings.prompts_config)
    for problem in catalog.problems:
        logger.warning("%s", problem)
    for prompt in reversed(catalog.prompts.values()):  # lists have the newest voice first
        voice_id = bundled_voice_id(prompt.name)
        try:
            await _publish(records, storage, prompt, base, create=voice_id not in published)
        except (BadAudio, ConsentMissing) as error:
            logger.warning("The prompt %r (%s) cannot be used: %s", prompt.name, prompt.audio, error.message)
        else:
            published.add(voice_id)
    content = "\n".join([*base.values(), *sorted(published)])
    await asyncio.to_thread(storage.put_bytes, PUBLISHED_KEY, content.encode())


def _published_ids(storage: Storage) -> set[str]:
    """Return the ids of the voices that were published before; those deleted since are among them."""
    if not storage.exists(PUBLISHED_KEY):
        return set()
    lines = storage.path(PUBLISHED_KEY).read_text().splitlines()
    ids = {line for line in lines if line.startswith("voice-")}
    return ids or {bundled_voice_id(name) for name in FIRST_BUNDLED}


async def _store_base(records: Records, storage: Storage, kind: str, file: Path) -> str:
    """Store and record a file of the base where that was not done yet; return the checkpoint's id."""
    sha256, size = await asyncio.to_thread(lambda: (sha256_of_file(file), file.stat().st_size))
    checkpoint_id = f"ckpt-{VERSION}-base-{kind}-{sha256[:12]}"
    await asyncio.to_thread(_store, storage, file, checkpoint(checkpoint_id))
    await records.checkpoints.create(
        NewCheckpointRecord(
            id=checkpoint_id,
            kind=kind,
            version=VERSION,
            name=f"{VERSION}-base-{kind}",
            sha256=sha256,
            size_bytes=size,
        )
    )
    return checkpoint_id


async def _publish(
    records: Records, storage: Storage, prompt: CatalogPrompt, base: dict[str, str], *, create: bool
) -> None:
    voice_id = bundled_voice_id(prompt.name)
    gpt, sovits = base["gpt"], base["sovits"]
    try:
        voice = await records.voices.get(voice_id)
    except NotFound:
        if not create:
            return
    else:
        if (voice.gpt_checkpoint_id, voice.sovits_checkpoint_id) != (gpt, sovits):
            await records.voices.update(voice_id, gpt_checkpoint_id=gpt, sovits_checkpoint_id=sovits)
        if voice.consent_id is None and prompt.licence:
            await records.voices.update(voice_id, consent_id=await _licence(records, prompt))
        return
    audio = voice_file(voice_id, "prompt.wav" if prompt.listed else f"prompt{Path(prompt.audio).suffix}")
    await asyncio.to_thread(_decode if prompt.listed else _store, storage, Path(prompt.audio), audio)
    await records.voices.create(
        NewVoiceRecord(
            id=voice_id,
            name=prompt.name,
            version=VERSION,
            language=prompt.language,
            prompts=[{"name": "default", "audio": audio, "text": prompt.text, "language": prompt.language}],
            gpt_checkpoint_id=gpt,
            sovits_checkpoint_id=sovits,
            consent_id=await _licence(records, prompt),
        )
    )
    logger.info("The voice %s speaks from its prompt; it was not trained.", prompt.name)


async def _licence(records: Records, prompt: CatalogPrompt) -> str | None:
    """Return the consent that the licence of a recording is; None where the catalog names none."""
    if not prompt.licence:
        return None
    origin = f" ({prompt.source})" if prompt.source else ""
    consent = NewConsentRecord(
        id=f"cons-{bundled_voice_id(prompt.name)}",
        speaker=prompt.speaker or prompt.name,
        statement=f"The recording was published under the licence {prompt.licence}{origin}.",
        source=ConsentSource.LICENCE,
        language=prompt.language,
    )
    return (await records.consents.create(consent)).id


def _decode(storage: Storage, file: Path, key: str) -> None:
    """Store a recording of any kind as a mono WAV; raise BadAudio for what is none."""
    temporary = storage.new_temporary()
    try:
        decode(file, temporary, mono=True)
        storage.publish(temporary, key)
    finally:
        temporary.unlink(missing_ok=True)


def _store(storage: Storage, file: Path, key: str) -> None:
    if storage.exists(key):
        return
    temporary = storage.new_temporary()
    shutil.copyfile(file, temporary)
    storage.publish(temporary, key)
