"""Publish the voices that speak before any training: the bundled prompts with the base of nano."""

from __future__ import annotations

import asyncio
import logging
import shutil
from pathlib import Path

from common.files import sha256_of_file
from common.storage_keys import checkpoint, voice_file
from core.errors import NotFound
from core.records import NewCheckpointRecord, NewVoiceRecord, Records
from core.settings import REPOSITORY, Settings
from core.storage import Storage
from core.voices.prompt_catalog import CatalogPrompt, bundled_voice_id, read_prompt_catalog

logger = logging.getLogger(__name__)

BASE = REPOSITORY / "GPT_SoVITS" / "base"
VERSION = "nano"
KINDS = ("gpt", "sovits")
PUBLISHED_KEY = "voices/bundled.txt"
"""Storage key of a file that exists once the voices were published; it names the base's checkpoints."""


async def publish_bundled_voices(settings: Settings, records: Records, storage: Storage) -> None:
    """Create a voice for every prompt of the catalog, once: a voice that was deleted stays deleted.

    When the base has changed, the remaining voices get the new one. Without a base nothing happens.
    """
    files = {kind: BASE / f"{kind}.safetensors" for kind in KINDS}
    if not all(file.is_file() for file in files.values()):
        logger.warning("There is no base in %s, so no voice speaks before it is trained.", BASE)
        return
    first = not await asyncio.to_thread(storage.exists, PUBLISHED_KEY)
    base = {kind: await _store_base(records, storage, kind, file) for kind, file in files.items()}
    for prompt in read_prompt_catalog(settings.prompts_config).values():
        await _publish(records, storage, prompt, base, create=first)
    await asyncio.to_thread(storage.put_bytes, PUBLISHED_KEY, "\n".join(base.values()).encode())


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
        return
    audio = voice_file(voice_id, f"prompt{Path(prompt.audio).suffix}")
    await asyncio.to_thread(_store, storage, Path(prompt.audio), audio)
    await records.voices.create(
        NewVoiceRecord(
            id=voice_id,
            name=prompt.name,
            version=VERSION,
            language=prompt.language,
            prompts=[{"name": "default", "audio": audio, "text": prompt.text, "language": prompt.language}],
            gpt_checkpoint_id=gpt,
            sovits_checkpoint_id=sovits,
        )
    )
    logger.info("The voice %s speaks from its prompt; it was not trained.", prompt.name)


def _store(storage: Storage, file: Path, key: str) -> None:
    if storage.exists(key):
        return
    temporary = storage.new_temporary()
    shutil.copyfile(file, temporary)
    storage.publish(temporary, key)
