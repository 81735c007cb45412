"""From files that were checked to a voice: each file before the record of it, and the voice last."""

from __future__ import annotations

import hashlib
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.files import sha256_of_file
from core.errors import Conflict, NotFound, VoiceNotFound
from core.records import CheckpointRecord, NewCheckpointRecord, NewVoiceRecord, Records, VoiceRecord
from core.storage import Storage
from roles.voices.convert import Weights


@dataclass(frozen=True, slots=True)
class NewPrompt:
    """A recording that was decoded and tried out."""

    name: str
    recording: Path
    text: str
    language: str
    tokens: list[int]


@dataclass(frozen=True, slots=True)
class NewVoice:
    """A voice that was tried out, not yet published."""

    name: str
    language: str
    gpt: Weights
    sovits: Weights
    prompts: tuple[NewPrompt, ...]
    pronunciations: dict[str, str] = field(default_factory=dict)
    told: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Kind → what else an archive says of the weights: name, metrics, lineage."""

    @property
    def id(self) -> str:
        """Named by what it is made of, so that an import that was killed is completed by the next one."""
        parts = [self.name, self.gpt.id, self.sovits.id]
        for prompt in self.prompts:
            parts += [sha256_of_file(prompt.recording), prompt.text, prompt.language]
        return "voice-" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]


async def publish(new: NewVoice, records: Records, storage: Storage, *, again: bool = False) -> VoiceRecord:
    """Whole or not at all: an error takes back what was new. Call it inside `turn`.

    Conflict when the name is taken or the voice is there already; with `again`, that voice is the answer.
    """
    voice_id = new.id
    if again:
        with suppress(VoiceNotFound):
            return await records.voices.get(voice_id)
    await check_free(records, new.name, f"The name {new.name!r} is taken")
    await check_free(records, voice_id, "These files are imported already, with this recording and text")
    async with AsyncExitStack() as undo:
        gpt = await _keep_weights(records, storage, new, new.gpt, undo)
        sovits = await _keep_weights(records, storage, new, new.sovits, undo)
        undo.callback(storage.delete_folder, f"voices/{voice_id}")
        prompts = [_keep_prompt(storage, voice_id, number, prompt) for number, prompt in enumerate(new.prompts)]
        voice = await records.voices.create(
            NewVoiceRecord(
                id=voice_id,
                name=new.name,
                version=new.sovits.version,
                language=new.language,
                gpt_checkpoint_id=gpt.id,
                sovits_checkpoint_id=sovits.id,
                prompts=prompts,
                pronunciations=new.pronunciations,
            )
        )
        undo.pop_all()
    return voice


async def check_free(records: Records, id_or_name: str, refusal: str) -> None:
    """Conflict when there is such a voice."""
    with suppress(VoiceNotFound):
        voice = await records.voices.get(id_or_name)
        raise Conflict(
            f"{refusal}: there is the {voice.version} voice {voice.name} ({voice.id}).",
            hint=f"Choose another name, or `main.py voice delete {voice.id}` first.",
        )


async def _keep_weights(
    records: Records, storage: Storage, new: NewVoice, weights: Weights, undo: AsyncExitStack
) -> CheckpointRecord:
    """The record that stands for these bytes, which may be older than this import."""
    size = weights.path.stat().st_size
    known = await records.checkpoints.find_by_checksum(weights.kind, weights.sha256)
    # Also where the key is there: it stands for these bytes, and those on the disk may have suffered.
    key = weights.key if known is None else known.storage_key
    if not storage.exists(key):
        undo.callback(storage.delete, key)
    storage.publish(weights.path, key)
    if known is not None:
        return known
    with suppress(NotFound):
        return await records.checkpoints.get(weights.id)
    told = new.told.get(weights.kind, {})
    record = await records.checkpoints.create(
        NewCheckpointRecord(
            id=weights.id,
            kind=weights.kind,
            version=weights.version,
            name=told.get("name") or f"{new.name}-{weights.kind}",
            sha256=weights.sha256,
            size_bytes=size,
            epoch=weights.epoch,
            step=weights.step,
            metrics=told.get("metrics") or {},
            lineage=told.get("lineage") or {},
            storage_key=weights.key,
        )
    )
    undo.push_async_callback(records.checkpoints.delete, weights.id)
    return record


def _keep_prompt(storage: Storage, voice_id: str, number: int, prompt: NewPrompt) -> dict[str, Any]:
    audio = f"voices/{voice_id}/prompt.wav" if number == 0 else f"voices/{voice_id}/prompt-{number}.wav"
    storage.publish(prompt.recording, audio)
    return {
        "name": prompt.name,
        "audio": audio,
        "text": prompt.text,
        "language": prompt.language,
        "tokens": prompt.tokens,
    }
