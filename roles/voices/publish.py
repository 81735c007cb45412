"""From checked files to a voice: each file is stored before its record is written, and the voice comes last."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from common import storage_keys
from common.files import sha256_of_file
from common.program_name import program_name
from core.errors import Conflict, NotFound, VoiceNotFound
from core.records import (
    CheckpointRecord,
    ConsentSource,
    NewCheckpointRecord,
    NewConsentRecord,
    NewVoiceRecord,
    Records,
    VoicePrompt,
    VoiceRecord,
)
from core.storage import Storage
from core.voices.archive import ConsentEntry
from roles.voices.convert import ConvertedCheckpoint
from roles.voices.import_child import CheckpointDetails


@dataclass(frozen=True, slots=True)
class ImportedPrompt:
    """A recording that was decoded and tried out."""

    name: str
    recording: Path
    text: str
    language: str
    tokens: list[int]
    description: str = ""


@dataclass(frozen=True, slots=True)
class UnpublishedVoice:
    """A voice that was tried out and is not published yet."""

    name: str
    language: str
    gpt: ConvertedCheckpoint
    sovits: ConvertedCheckpoint
    prompts: tuple[ImportedPrompt, ...]
    pronunciations: dict[str, str] = field(default_factory=dict)
    loudness: float | None = None
    details: Mapping[str, CheckpointDetails] = field(default_factory=dict)
    """Kind → what an archive says of the weights beside what they hold themselves."""
    consent: ConsentEntry | None = None
    """Of the speaker, as an archive has it."""
    consent_id: str = ""
    """Of a consent that was stored before, which takes precedence."""

    @property
    def id(self) -> str:
        """Made from the content, so that an import that was killed is completed by the next one."""
        parts = [self.name, self.gpt.id, self.sovits.id]
        for prompt in self.prompts:
            parts += [sha256_of_file(prompt.recording), prompt.text, prompt.language]
        return "voice-" + hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]


async def publish(voice: UnpublishedVoice, records: Records, storage: Storage, *, again: bool = False) -> VoiceRecord:
    """Publish a voice, whole or not at all: an error takes back what is new. Call it under the import lock.

    Raises Conflict when the name is taken or the voice is there already; with `again`, the latter is returned.
    """
    voice_id = voice.id
    if again:
        with suppress(VoiceNotFound):
            return await records.voices.get(voice_id)
    await check_free(records, voice.name, f"The name {voice.name!r} is taken")
    await check_free(records, voice_id, "These files are imported already, with this recording and text")
    async with AsyncExitStack() as undo:
        gpt = await _publish_checkpoint(records, storage, voice, voice.gpt, undo)
        sovits = await _publish_checkpoint(records, storage, voice, voice.sovits, undo)
        undo.callback(storage.delete_folder, storage_keys.voice_folder(voice_id))
        prompts: list[VoicePrompt] = []
        for number, prompt in enumerate(voice.prompts):
            audio = storage_keys.voice_file(voice_id, f"prompt-{number}.wav" if number else "prompt.wav")
            storage.publish(prompt.recording, audio)
            published: VoicePrompt = {
                "name": prompt.name,
                "audio": audio,
                "text": prompt.text,
                "language": prompt.language,
                "tokens": prompt.tokens,
            }
            if prompt.description:
                published["description"] = prompt.description
            prompts.append(published)
        consent_id = voice.consent_id or None
        if voice.consent is not None and not consent_id:
            consent_id = (await records.consents.create(_consent_record(voice.consent))).id
        record = await records.voices.create(
            NewVoiceRecord(
                id=voice_id,
                name=voice.name,
                version=voice.sovits.version,
                language=voice.language,
                gpt_checkpoint_id=gpt.id,
                sovits_checkpoint_id=sovits.id,
                prompts=prompts,
                pronunciations=voice.pronunciations,
                loudness=voice.loudness,
                consent_id=consent_id,
            )
        )
        undo.pop_all()
    return record


def _consent_record(entry: ConsentEntry) -> NewConsentRecord:
    """Return the consent of an archive as it is stored here; the same one is stored once."""
    digest = hashlib.sha256(entry.model_dump_json().encode()).hexdigest()[:20]
    return NewConsentRecord(
        id=f"cons-import-{digest}",
        speaker=entry.speaker,
        statement=entry.statement,
        source=ConsentSource.STATEMENT,
        uses=entry.uses,
        language=entry.language,
        given_at=entry.given_at,
        expires_at=entry.expires_at,
        recording_sha256=entry.recording_sha256,
    )


async def check_free(records: Records, id_or_name: str, reason: str) -> None:
    """Raise Conflict, with the reason, when there is such a voice."""
    with suppress(VoiceNotFound):
        voice = await records.voices.get(id_or_name)
        raise Conflict(
            f"{reason}: there is the {voice.version} voice {voice.name} ({voice.id}).",
            hint=f"Choose another name, or `{program_name()} voice delete {voice.id}` first.",
        )


async def _publish_checkpoint(
    records: Records,
    storage: Storage,
    voice: UnpublishedVoice,
    weights: ConvertedCheckpoint,
    undo: AsyncExitStack,
) -> CheckpointRecord:
    """Return the record of these bytes, which may be older than this import."""
    size = weights.path.stat().st_size
    existing = await records.checkpoints.find_by_checksum(weights.kind, weights.sha256)
    key = weights.key if existing is None else existing.storage_key
    if not storage.exists(key):
        undo.callback(storage.delete, key)
    storage.publish(weights.path, key)  # also where the key is there: the bytes on the disk may be damaged
    if existing is not None:
        return existing
    with suppress(NotFound):
        return await records.checkpoints.get(weights.id)
    details = voice.details.get(weights.kind) or {"name": "", "metrics": {}, "lineage": {}}
    record = await records.checkpoints.create(
        NewCheckpointRecord(
            id=weights.id,
            kind=weights.kind,
            version=weights.version,
            name=details["name"] or f"{voice.name}-{weights.kind}",
            sha256=weights.sha256,
            size_bytes=size,
            epoch=weights.epoch,
            step=weights.step,
            metrics=details["metrics"],
            lineage=details["lineage"],
            storage_key=weights.key,
        )
    )
    undo.push_async_callback(records.checkpoints.delete, weights.id)
    return record
