"""Voices by the names that requests give them: ids, names in any case, aliases, and the names of OpenAI's voices."""

from __future__ import annotations

from typing import Final

from common.languages import single_language
from core.errors import VoiceNotFound
from core.records import Records, VoiceRecord
from core.settings import Settings
from core.speech.text_language import guess_language
from core.voices.prompt_catalog import bundled_voice_id, read_prompt_catalog

OPENAI_VOICES: Final = frozenset(
    ("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse")
)
"""Names that OpenAI's clients send whether or not a voice here has them."""


class VoiceLookup:
    """Finds the voice that a name stands for, among those that the caller may see."""

    def __init__(self, settings: Settings, records: Records) -> None:
        self.settings = settings
        self.records = records

    async def find(self, name: str, text: str = "", language: str = "auto") -> VoiceRecord:
        """Return a voice by its id, its name in any case where that is one voice's, or an alias of VOICE_ALIASES.

        The names of OpenAI's voices that no voice here has are spoken by the default voice, which fits the text.
        Raise VoiceNotFound, which names some voices.
        """
        try:
            return await self.records.voices.get(name)
        except VoiceNotFound as error:
            voice = await self._find_otherwise(name, text, language)
            if voice is None:
                raise error
            return voice

    async def default(self, text: str = "", language: str = "auto") -> VoiceRecord:
        """Return DEFAULT_VOICE, else a bundled voice that speaks the text's language, else the newest voice."""
        return await self._default_voice() or await self._bundled(text, language) or await self.newest()

    async def newest(self, text: str = "", language: str = "auto") -> VoiceRecord:
        """Return DEFAULT_VOICE, else the newest voice that is not bundled, else a bundled one for the text's language.

        Raise VoiceNotFound where there is none.
        """
        if voice := await self._default_voice():
            return voice
        bundled = {bundled_voice_id(name) for name in read_prompt_catalog(self.settings.prompts_config)}
        page = await self.records.voices.page(limit=len(bundled) + 1)
        if voice := next((voice for voice in page.items if voice.id not in bundled), None):
            return voice
        if voice := await self._bundled(text, language):
            return voice
        raise VoiceNotFound("No voice is published yet.", hint="Train one first: POST /api/v1/tasks.")

    async def _find_otherwise(self, name: str, text: str, language: str) -> VoiceRecord | None:
        key = name.strip().casefold()
        if alias := self.settings.voice_aliases.get(key):
            return await self._find_exactly(alias)
        same = await self.records.voices.named(name)
        if len(same) == 1:
            return same[0]
        if len(same) > 1:
            names = ", ".join(sorted(repr(voice.name) for voice in same))
            raise VoiceNotFound(f"no voice named {name!r}", hint=f"Several differ from it only in case: {names}.")
        return await self.default(text, language) if key in OPENAI_VOICES else None

    async def _find_exactly(self, name: str) -> VoiceRecord | None:
        try:
            return await self.records.voices.get(name)
        except VoiceNotFound:
            return None

    async def _default_voice(self) -> VoiceRecord | None:
        return await self._find_exactly(self.settings.default_voice) if self.settings.default_voice else None

    async def _bundled(self, text: str, language: str) -> VoiceRecord | None:
        spoken = single_language(language) or guess_language(text)
        voices = []
        for name in read_prompt_catalog(self.settings.prompts_config):
            if voice := await self._find_exactly(bundled_voice_id(name)):
                voices.append(voice)
        fitting = [voice for voice in voices if single_language(voice.language) == spoken]
        return next(iter(fitting or voices), None)
