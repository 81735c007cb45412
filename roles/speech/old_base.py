"""Voices of nano that began from its first base, which spoke English alone."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from core.errors import LanguageNotSpoken
from core.speech.requests import UtteranceRequest
from core.speech.text_language import languages_of

ENGLISH_CODEBOOK: Final = "7d726022a13e133ff4c3ee5161e63197"
"""Fingerprint of that base's codebook, which a training leaves as it is."""


def speaks_english_alone(version: str, sovits: Path) -> bool:
    """Return whether a SoVITS file of a version began from the first base of nano."""
    from GPT_SoVITS.checkpoints.codebook_fingerprint import read_codebook_fingerprint

    return version == "nano" and read_codebook_fingerprint(sovits) == ENGLISH_CODEBOOK


def check_is_english(request: UtteranceRequest, voice: str) -> None:
    """Raise LanguageNotSpoken for a text that such a voice would babble."""
    if other := [language for language in languages_of(request.text, request.language) if language != "en"]:
        raise LanguageNotSpoken(
            f"The text is in {', '.join(other)}, and the voice {voice} was trained from an earlier base of nano, which "
            "speaks English only.",
            hint="Train it again from its recordings: the base of this version speaks Mandarin, too.",
        )
