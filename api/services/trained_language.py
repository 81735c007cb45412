"""Warns of a voice that is trained in a language which the models of its version never learnt."""

from __future__ import annotations

from api.http.request_context import warn_caller
from common.languages import RECORDING_LANGUAGES, find_language
from common.versions import spoken_languages
from core.speech.checks import not_spoken_warning


def warn_of_unknown_language(version: str, language: str) -> None:
    """Warn the caller where voices of a version do not speak the language of a recording, if that is known."""
    code, spoken = find_language(language), spoken_languages(version)
    if code != "auto" and code in RECORDING_LANGUAGES and code not in spoken:
        warn_caller(not_spoken_warning([code], spoken))
