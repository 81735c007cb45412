"""Voices: created of checkpoints and prompts, changed, imported, deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, cast

from api.services.recordings import RecordingService
from api.services.spoken_consents import SpokenConsents
from common import storage_keys
from common.limits import prompt_seconds
from core.access import Visibility
from core.creation import began_earlier_at, creation_id
from core.errors import BadAudio, Conflict, InvalidRequest
from core.jobs.job import Job, NewJob
from core.jobs.queue import AsyncQueue
from core.jobs.roles import FILES
from core.records import NewVoiceRecord, Records, VoiceChanges, VoicePrompt, VoiceRecord
from core.speech.checks import canonical_language, check_pronunciations
from core.speech.levels import AS_SPOKEN
from core.storage import Storage
from core.voices.checks import check_name, check_pair, check_prompt_names
from core.voices.import_job import IMPORT_PREFIX, VoiceImportRequest

PAGE_SIZE: Final = 500


@dataclass(frozen=True, slots=True)
class PromptRequest:
    """A prompt to be made of an uploaded recording."""

    name: str
    file_id: str
    text: str
    language: str = "auto"
    description: str = ""
    """What its manner is like."""


@dataclass(frozen=True, slots=True)
class VoiceRequest:
    """A voice to be made of two checkpoints and its prompts, the first of which is the default."""

    name: str
    gpt_checkpoint_id: str
    sovits_checkpoint_id: str
    prompts: Sequence[PromptRequest]
    language: str | None = None
    """None for that of the first prompt."""
    pronunciations: dict[str, str] = field(default_factory=dict)
    consent_id: str | None = None
    loudness: float | None = None
    """LUFS that its speech is brought to."""


@dataclass(frozen=True, slots=True)
class VoiceChangeRequest:
    """Fields of a voice to change; None leaves a field as it is."""

    name: str | None = None
    language: str | None = None
    pronunciations: dict[str, str] | None = None
    default_prompt: str | None = None
    gpt_checkpoint_id: str | None = None
    sovits_checkpoint_id: str | None = None
    visibility: Visibility | None = None
    consent_id: str | None = None
    loudness: float | Literal["off"] | None = None


@dataclass(frozen=True, slots=True)
class PromptChangeRequest:
    """Fields of a prompt to change; None leaves a field as it is."""

    name: str | None = None
    text: str | None = None
    language: str | None = None
    description: str | None = None


class VoiceService:
    """Creates and changes voices, whose prompts lie in a storage folder of the voice."""

    def __init__(
        self,
        records: Records,
        storage: Storage,
        queue: AsyncQueue,
        recordings: RecordingService,
        spoken_consents: SpokenConsents,
    ) -> None:
        self.records = records
        self.storage = storage
        self.queue = queue
        self.recordings = recordings
        self.spoken_consents = spoken_consents

    async def list_all(self) -> list[VoiceRecord]:
        """Return every voice, newest first."""
        voices: list[VoiceRecord] = []
        while True:
            page = await self.records.voices.page(limit=PAGE_SIZE, offset=len(voices))
            voices += page.items
            if not page.items or len(voices) >= page.total:
                return voices

    async def create(self, request: VoiceRequest) -> VoiceRecord:
        """Create a voice; Conflict when its name is taken, InvalidParameter when the checkpoints do not match.

        Raises ConsentMissing where the consent of the speaker is required and there is none, InvalidRequest where a
        spoken one is another speaker's.
        """
        voice_id = creation_id("voice")
        if existing := await self.records.voices.find_created(voice_id):
            return existing
        name = check_name(request.name)
        check_prompt_names([prompt.name.strip() for prompt in request.prompts])
        check_pronunciations(request.pronunciations)
        language = canonical_language(request.language or request.prompts[0].language)
        await self._check_name_is_free(name, "Choose another name.")
        await self.records.consents.check_future_voice(request.consent_id)
        version = await self._check_pair(request.gpt_checkpoint_id, request.sovits_checkpoint_id)
        with self.storage.recording(storage_keys.voice_folder(voice_id)):
            prompts = [
                await self._store_prompt(_new_prompt_key(voice_id), version, prompt) for prompt in request.prompts
            ]
            if request.consent_id:
                await self.spoken_consents.check_voice(request.consent_id, prompts[0]["audio"])
            return await self.records.voices.create(
                NewVoiceRecord(
                    id=voice_id,
                    name=name,
                    version=version,
                    language=language,
                    gpt_checkpoint_id=request.gpt_checkpoint_id,
                    sovits_checkpoint_id=request.sovits_checkpoint_id,
                    prompts=prompts,
                    pronunciations=request.pronunciations,
                    consent_id=request.consent_id,
                    loudness=request.loudness,
                )
            )

    async def change(self, voice: str, changes: VoiceChangeRequest) -> VoiceRecord:
        """Change a voice; InvalidRequest without any change, Conflict when the new name is taken."""
        if changes == VoiceChangeRequest():
            raise InvalidRequest("Nothing is to be changed.", hint="Send `name`, `pronunciations` or another field.")
        values: VoiceChanges = {}
        if changes.name is not None:
            values["name"] = check_name(changes.name)
        if changes.language is not None:
            values["language"] = canonical_language(changes.language)
        if changes.pronunciations is not None:
            values["pronunciations"] = check_pronunciations(changes.pronunciations)
        if changes.visibility is not None:
            values["visibility"] = changes.visibility
        if changes.loudness is not None:
            values["loudness"] = None if changes.loudness == AS_SPOKEN else float(changes.loudness)
        if changes.consent_id is not None:
            values["consent_id"] = changes.consent_id
        record = await self.records.voices.get(voice)
        if changes.consent_id is not None:
            await self.spoken_consents.check_voice(changes.consent_id, record.prompts[0]["audio"])
        if changes.gpt_checkpoint_id is not None or changes.sovits_checkpoint_id is not None:
            gpt_id = changes.gpt_checkpoint_id or record.gpt_checkpoint_id
            sovits_id = changes.sovits_checkpoint_id or record.sovits_checkpoint_id
            values["version"] = await self._check_pair(gpt_id, sovits_id)
            values["gpt_checkpoint_id"] = gpt_id
            values["sovits_checkpoint_id"] = sovits_id

        def apply(record: VoiceRecord) -> VoiceChanges:
            prompts = record.prompts
            if changes.default_prompt is not None:
                first = record.prompt_named(changes.default_prompt)
                prompts = [first, *(prompt for prompt in prompts if prompt is not first)]
            if values.get("sovits_checkpoint_id", record.sovits_checkpoint_id) != record.sovits_checkpoint_id:
                # The semantic tokens of a recording depend on the codebook.
                prompts = [_without_tokens(prompt) for prompt in prompts]
            return {**values, "prompts": prompts}

        return await self.records.voices.change(record.id, apply)

    async def delete(self, voice: str) -> None:
        """Delete a voice and its prompts; its checkpoints stay."""
        record = await self.records.voices.delete(voice)
        await asyncio.to_thread(self.storage.delete_folder, storage_keys.voice_folder(record.id))

    async def add_prompt(self, voice: str, request: PromptRequest) -> VoiceRecord:
        """Add a prompt; Conflict when the voice has one of that name."""
        record = await self.records.voices.get(voice)
        key = _new_prompt_key(record.id)
        if any(prompt["audio"] == key for prompt in record.prompts):
            return record  # added by the same request before
        check_prompt_names([*_prompt_names(record), request.name.strip()])
        with self.storage.recording(key):
            new = await self._store_prompt(key, record.version, request)

            def apply(record: VoiceRecord) -> VoiceChanges:
                check_prompt_names([*_prompt_names(record), new["name"]])
                return {"prompts": [*record.prompts, new]}

            return await self.records.voices.change(record.id, apply)

    async def change_prompt(self, voice: str, prompt_name: str, changes: PromptChangeRequest) -> VoiceRecord:
        """Change a prompt; InvalidRequest without any change, Conflict when the voice has one of the new name."""
        values: dict[str, str] = {}
        if changes.name is not None:
            values["name"] = check_name(changes.name)
        if changes.text is not None:
            values["text"] = _check_text(changes.text)
        if changes.language is not None:
            values["language"] = canonical_language(changes.language)
        if changes.description is not None:
            values["description"] = changes.description.strip()
        if not values:
            raise InvalidRequest("Nothing is to be changed.", hint="Send `name`, `text` or `language`.")

        def apply(record: VoiceRecord) -> VoiceChanges:
            changed = record.prompt_named(prompt_name)
            corrected = cast(VoicePrompt, {**changed, **values})
            prompts = [corrected if prompt is changed else prompt for prompt in record.prompts]
            check_prompt_names([str(prompt["name"]) for prompt in prompts])
            return {"prompts": prompts}

        record = await self.records.voices.get(voice)
        return await self.records.voices.change(record.id, apply)

    async def delete_prompt(self, voice: str, prompt_name: str) -> None:
        """Delete a prompt and its recording; Conflict for the last one of a voice."""
        audio_keys: list[str] = []

        def apply(record: VoiceRecord) -> VoiceChanges:
            deleted = record.prompt_named(prompt_name)
            if len(record.prompts) == 1:
                raise Conflict(
                    f"{deleted['name']!r} is the only prompt of {record.name}.", hint="Add another one first."
                )
            audio_keys[:] = [deleted["audio"]]
            return {"prompts": [prompt for prompt in record.prompts if prompt is not deleted]}

        record = await self.records.voices.get(voice)
        await self.records.voices.change(record.id, apply)
        if audio_keys[0].startswith(f"{storage_keys.voice_folder(record.id)}/"):
            await asyncio.to_thread(self.storage.delete, audio_keys[0])

    async def enqueue_import(self, request: VoiceImportRequest, files: Mapping[str, Path]) -> Job:
        """Store the received files of a voice and enqueue the job that imports them; Conflict when its name is taken.

        `files`: the parts that the request names.
        """
        job_id = creation_id(IMPORT_PREFIX)
        if began_earlier_at() is not None and (job := await self.queue.job(job_id)):
            return job
        if request.name:
            await self._check_name_is_free(request.name, "Send another `name`.")
        try:
            for part, path in files.items():
                await asyncio.to_thread(self.storage.publish, path, storage_keys.import_file(job_id, part))
            return await self.queue.enqueue(NewJob(FILES, request.stored(), job_id=job_id))
        except BaseException:
            await asyncio.to_thread(self.storage.delete_folder, storage_keys.import_folder(job_id))
            raise

    async def _check_name_is_free(self, name: str, hint: str) -> None:
        if await self.records.voices.has_name(name):
            raise Conflict(f"There is a voice named {name!r} already.", hint=hint)

    async def _check_pair(self, gpt_id: str, sovits_id: str) -> str:
        """Return the version of a voice of two checkpoints; raise when they do not belong to one family."""
        gpt, sovits = await self.records.checkpoints.get(gpt_id), await self.records.checkpoints.get(sovits_id)
        await asyncio.to_thread(check_pair, gpt, sovits, self.storage)
        return sovits.version

    async def _store_prompt(self, key: str, version: str, request: PromptRequest) -> VoicePrompt:
        """Decode a recording to a key and return the prompt as the voice's record holds it."""
        name, text = check_name(request.name), _check_text(request.text)
        canonical_language(request.language)
        file = await self.records.files.get(request.file_id)
        path = await asyncio.to_thread(self.storage.path, file.storage_key)
        seconds = prompt_seconds(version)
        try:
            prompt = await self.recordings.store_prompt(path, key, text, request.language, seconds=seconds)
        except BadAudio as error:
            raise type(error)(f"The prompt {name!r}: {error.message}", hint=error.hint, details=error.details) from None
        stored: VoicePrompt = {
            "name": name,
            "audio": prompt.audio,
            "text": prompt.text,
            "language": prompt.language,
        }
        if request.description.strip():
            stored["description"] = request.description.strip()
        return stored


def _new_prompt_key(voice_id: str) -> str:
    return storage_keys.voice_file(voice_id, f"{creation_id('prompt')}.wav")


def _check_text(text: str) -> str:
    if not text.strip() or not all(letter.isprintable() or letter.isspace() for letter in text):
        raise InvalidRequest("What the prompt says is empty or cannot be shown.", hint="Send its words.")
    return text.strip()


def _prompt_names(voice: VoiceRecord) -> list[str]:
    return [str(prompt.get("name", "")) for prompt in voice.prompts]


def _without_tokens(prompt: VoicePrompt) -> VoicePrompt:
    copy = prompt.copy()
    copy.pop("tokens", None)
    return copy
