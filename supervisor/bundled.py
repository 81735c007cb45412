"""The voices that speak before any training: the bundled prompts with the base of nano."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
from pathlib import Path

from core.errors import NotFound
from core.records import Records
from core.settings import Settings
from core.storage import Storage
from core.voices.prompts import Prompt, read_prompts

logger = logging.getLogger(__name__)

BASE = Path(__file__).resolve().parent.parent / "GPT_SoVITS" / "base"
VERSION = "nano"
KINDS = ("gpt", "sovits")
MARK = "voices/bundled.txt"
"""Tells that the voices were published once; names the base."""


async def publish_bundled_voices(settings: Settings, records: Records, storage: Storage) -> None:
    """Make a voice of every prompt in the catalogue, once: one that was deleted stays so. A new base takes the place of
    the old one in those that are left. Nothing happens without a base."""
    files = {kind: BASE / f"{kind}.safetensors" for kind in KINDS}
    if not all(file.is_file() for file in files.values()):
        logger.warning("There is no base in %s, so no voice speaks before it is trained.", BASE)
        return
    first = not await asyncio.to_thread(storage.exists, MARK)
    base = {kind: await _checkpoint(records, storage, kind, file) for kind, file in files.items()}
    for prompt in read_prompts(settings.prompts_config).values():
        await _publish(records, storage, prompt, base, create=first)
    await asyncio.to_thread(storage.put_bytes, MARK, "\n".join(base.values()).encode())


async def _checkpoint(records: Records, storage: Storage, kind: str, file: Path) -> str:
    """The id of a base file's checkpoint, stored and recorded where it was not."""
    sha256, size = await asyncio.to_thread(_measure, file)
    checkpoint_id = f"ckpt-{VERSION}-base-{kind}-{sha256[:12]}"
    await asyncio.to_thread(_store, storage, file, f"checkpoints/{checkpoint_id}.safetensors")
    await records.checkpoints.create(
        checkpoint_id,
        kind=kind,
        version=VERSION,
        name=f"{VERSION}-base-{kind}",
        sha256=sha256,
        size_bytes=size,
    )
    return checkpoint_id


async def _publish(records: Records, storage: Storage, prompt: Prompt, base: dict[str, str], *, create: bool) -> None:
    voice_id = "voice-" + hashlib.sha256(f"bundled {prompt.name}".encode()).hexdigest()[:20]
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
    audio = f"voices/{voice_id}/prompt{Path(prompt.audio).suffix}"
    await asyncio.to_thread(_store, storage, Path(prompt.audio), audio)
    await records.voices.create(
        voice_id=voice_id,
        name=prompt.name,
        version=VERSION,
        language=prompt.language,
        prompts=[{"name": "default", "audio": audio, "text": prompt.text, "language": prompt.language}],
        gpt_checkpoint_id=gpt,
        sovits_checkpoint_id=sovits,
    )
    logger.info("The voice %s speaks from its prompt; it was not trained.", prompt.name)


def _store(storage: Storage, file: Path, key: str) -> None:
    if storage.exists(key):
        return
    temporary = storage.new_temporary()
    shutil.copyfile(file, temporary)
    storage.publish(temporary, key)


def _measure(file: Path) -> tuple[str, int]:
    """SHA-256 in hex, and bytes."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest(), file.stat().st_size
