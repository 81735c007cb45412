"""Voices that a text names: found, allowed and agreed to before anything is spoken."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from api.services.text_splitting import NamedPassage, read_passages
from api.services.voice_lookup import VoiceLookup
from common.versions import SAMPLE_RATES, spoken_languages
from core.errors import VoiceNotFound
from core.records import Records, VoiceRecord
from core.settings import Settings
from core.speech.checks import check_spoken_languages
from core.speech.levels import LevelOptions
from core.speech.requests import NamedVoice, SpeechRequest

MAX_VOICES: Final = 20
"""That one text may name."""
_MENTION: Final = re.compile(r"\[/?voice|<voice\b")


class NamedVoices:
    """Finds the voices that the text of a request names, and checks that its texts suit them."""

    def __init__(self, settings: Settings, records: Records, lookup: VoiceLookup) -> None:
        self._settings = settings
        self._records = records
        self._lookup = lookup

    async def prepare(
        self, request: SpeechRequest, levels: LevelOptions, pronunciations: Mapping[str, str]
    ) -> tuple[SpeechRequest, list[str]]:
        """Return a request with the voices that its text names, and warnings of what these cannot speak well.

        `levels` and `pronunciations` are those that the caller asks for. Raises VoiceNotFound, NotFound for a prompt,
        ConsentMissing, LanguageNotSpoken, and the errors of texts.
        """
        if not request.first_voice and (request.input_type == "text" or not _MENTION.search(request.text)):
            warning = check_spoken_languages(request, request.text)
            return request, [warning] if warning else []
        passages = await read_passages(request)
        names = dict.fromkeys(passage.voice for passage in passages if passage.voice)
        if len(names) > MAX_VOICES:
            raise VoiceNotFound(
                f"The text names {len(names)} voices; {MAX_VOICES} is the most.", hint="Send two texts."
            )
        voices = dict(request.voices)
        records: dict[str, VoiceRecord] = {}
        for name in names:
            record, prompt_name = await self._find(name)
            records[name] = record
            voices[name] = NamedVoice(
                voice_id=record.id,
                voice_stamp=record.stamp,
                prompt_name=prompt_name,
                pronunciations={**record.pronunciations, **pronunciations},
                loudness=levels.loudness_of(record.loudness, self._settings.speech_loudness),
            )
        warnings = self._check_languages(request, passages, records)
        return request.model_copy(update={"voices": voices}), warnings

    async def common_rate(self, request: SpeechRequest, own: VoiceRecord) -> int:
        """Return the rate in Hz that suits all voices of a request: what it asks for, else the highest of theirs."""
        if request.sample_rate or not request.voices:
            return request.sample_rate
        records = [await self._records.voices.get(voice.voice_id) for voice in request.voices.values()]
        rates = [SAMPLE_RATES.get(record.version, 0) for record in (own, *records)]
        return max(rates) if len(set(rates)) > 1 else 0

    async def _find(self, name: str) -> tuple[VoiceRecord, str]:
        """Return the voice of `voice` or `voice/prompt`, and the name of the prompt."""
        voice_name, _, prompt_name = name.partition("/")
        record = await self._lookup.find(voice_name.strip())
        await self._records.consents.check_voice(record)
        if prompt_name:
            record.prompt_named(prompt_name.strip())
        return record, prompt_name.strip()

    def _check_languages(
        self, request: SpeechRequest, passages: list[NamedPassage], records: Mapping[str, VoiceRecord]
    ) -> list[str]:
        warnings: list[str] = []
        for passage in passages:
            languages = request.spoken_languages
            if passage.voice:
                languages = spoken_languages(records[passage.voice].version)
            own = request.model_copy(update={"spoken_languages": languages, "language": passage.language})
            warning = check_spoken_languages(own, passage.text)
            if warning and warning not in warnings:
                warnings.append(warning)
        return warnings
