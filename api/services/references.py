"""Reference recordings by the names and paths that requests give them; nothing else on this host's disk is read."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from api.services.recordings import RecordingService
from common import storage_keys
from common.limits import MAX_EXTRA_REFERENCES
from core.errors import BadAudio, InvalidRequest, NotFound
from core.records import FileRecord, Records, VoicePrompt, VoiceRecord
from core.speech.requests import PromptRef
from core.storage import Storage

_SEPARATORS: Final = re.compile(r"[/\\]+")
_ENDING: Final = re.compile(r"\.[A-Za-z0-9]{1,5}$")


@dataclass(frozen=True, slots=True)
class VoiceReference:
    """A prompt of a voice."""

    voice: VoiceRecord
    prompt: VoicePrompt


@dataclass(frozen=True, slots=True)
class UploadReference:
    """An uploaded recording."""

    file: FileRecord


Reference = VoiceReference | UploadReference


class ReferenceService:
    """Finds the prompt or the upload that a path of a request names, and makes it usable as a prompt."""

    def __init__(self, records: Records, storage: Storage, recordings: RecordingService) -> None:
        self.records = records
        self.storage = storage
        self.recordings = recordings

    async def find(self, path: str) -> Reference:
        """Return what the last part of a path names, with or without its ending.

        That is `voice/prompt`, else a voice (by name or id), else an upload (by id or file name). Raise NotFound; it
        does not say whether the path exists on this host.
        """
        parts = [part for part in _SEPARATORS.split(path.strip()) if part not in ("", ".", "..")]
        last = parts[-1] if parts else ""
        stem = _ENDING.sub("", last)
        for name in dict.fromkeys((last, stem)):
            folder = parts[-2] if len(parts) > 1 else ""
            reference = await self._find_prompt(folder, name) or await self._find_named(name)
            if reference is not None:
                return reference
        raise NotFound(
            f"No voice, prompt or upload is named {stem[:100]!r}.",
            hint="Name a voice, `voice/prompt`, or a file of POST /api/v1/files.",
        )

    async def audio_key(self, reference: Reference, seconds: tuple[float, float]) -> str:
        """Return the storage key of a reference's WAV; an upload is decoded at its first use.

        `seconds`: the shortest and the longest upload that is accepted; BadAudio otherwise.
        """
        if isinstance(reference, VoiceReference):
            return reference.prompt["audio"]
        file = reference.file
        shortest, longest = seconds
        if file.duration_seconds is None:
            raise BadAudio(f"The upload {file.filename!r} is no recording.", hint="Name a recording.")
        if not shortest <= file.duration_seconds <= longest:
            raise BadAudio(
                f"The reference recording {file.filename!r} lasts {file.duration_seconds:.1f} s.",
                hint=f"It may last {shortest:g} to {longest:g} s.",
            )
        key = storage_keys.reference_file(file.id)
        if not await asyncio.to_thread(self.storage.exists, key):
            path = await asyncio.to_thread(self.storage.path, file.storage_key)
            await self.recordings.store_prompt(path, key, "")
        return key

    async def prompt(self, reference: Reference, text: str, language: str, seconds: tuple[float, float]) -> PromptRef:
        """Return a reference as a prompt; a voice's own has its own transcript and language."""
        key = await self.audio_key(reference, seconds)
        if isinstance(reference, VoiceReference):
            return PromptRef(audio=key, text=reference.prompt["text"], language=reference.prompt["language"])
        return PromptRef(audio=key, text=text, language=language)

    async def audio_keys(self, paths: Iterable[str], seconds: tuple[float, float]) -> tuple[str, ...]:
        """Return the storage keys of several references, for the style of a request."""
        names = [path for path in paths if path.strip()]
        if len(names) > MAX_EXTRA_REFERENCES:
            raise InvalidRequest(f"{len(names)} more references were sent; {MAX_EXTRA_REFERENCES} is the most.")
        return tuple([await self.audio_key(await self.find(name), seconds) for name in names])

    async def _find_prompt(self, voice_name: str, prompt_name: str) -> Reference | None:
        voice = await self._find_voice(voice_name) if voice_name and prompt_name else None
        if voice is None:
            return None
        try:
            return VoiceReference(voice, voice.prompt_named(prompt_name))
        except NotFound:
            return None

    async def _find_named(self, name: str) -> Reference | None:
        if not name:
            return None
        if voice := await self._find_voice(name):
            return VoiceReference(voice, voice.prompt)
        file = await self.records.files.find_named(name)
        return None if file is None else UploadReference(file)

    async def _find_voice(self, name: str) -> VoiceRecord | None:
        try:
            return await self.records.voices.get(name)
        except NotFound:
            same = await self.records.voices.named(name)
            return same[0] if len(same) == 1 else None
