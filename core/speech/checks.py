"""What a speech request may ask for: languages, speeds, pronunciations and characters."""

from __future__ import annotations

import re
from collections.abc import Iterable

from common.languages import LANGUAGE_CODES, LanguageCode, find_language
from common.limits import (
    MAX_PRONUNCIATION_LENGTH,
    MAX_PRONUNCIATION_WORD_LENGTH,
    MAX_PRONUNCIATIONS,
    MAX_SPEED,
    MIN_SPEED,
)
from core.errors import InvalidRequest, LanguageNotSpoken, UnsupportedLanguage
from core.speech.requests import SpeechRequest
from core.speech.text_language import languages_of


def canonical_language(language: str) -> LanguageCode:
    """Return the code that a name of a language stands for.

    Raises:
        UnsupportedLanguage: lists the codes.
    """
    code = find_language(language)
    if code is None:
        raise UnsupportedLanguage(
            f"The language {language!r} cannot be spoken.", hint=f"Languages: {', '.join(LANGUAGE_CODES)}."
        )
    return code


def check_spoken_languages(request: SpeechRequest, text: str) -> str:
    """Return a warning where a text is in a language that the request's voice does not speak; else "".

    Raises:
        LanguageNotSpoken: the request is strict about it.
    """
    missing = [
        language
        for language in languages_of(text, request.language)
        if request.spoken_languages and language not in request.spoken_languages
    ]
    if not missing:
        return ""
    if request.strict_language:
        raise LanguageNotSpoken(
            f"The text is in {', '.join(missing)}, and the voice speaks {', '.join(request.spoken_languages)}.",
            hint="Take a voice that speaks it; without strict_language the text is read with an accent at best.",
        )
    return not_spoken_warning(missing, request.spoken_languages)


def not_spoken_warning(needed: Iterable[str], spoken: Iterable[str]) -> str:
    """Return the warning that a text or a recording is in languages that a voice does not speak."""
    return f'{LanguageNotSpoken.code}; text="{", ".join(needed)}"; voice="{", ".join(spoken)}"'


def check_speed(speed: float) -> float:
    """Return the speed itself; raise InvalidRequest when it is out of range."""
    if not MIN_SPEED <= speed <= MAX_SPEED:
        raise InvalidRequest(
            f"The speed is {speed:g}; it may be {MIN_SPEED:g} to {MAX_SPEED:g}.",
            hint="1 is the voice's own pace, 2 is twice as fast.",
        )
    return speed


def check_pronunciations(entries: dict[str, str]) -> dict[str, str]:
    """Return the dictionary itself; raise InvalidRequest when it, a word or a pronunciation is too long or empty.

    Whether a pronunciation can be parsed is checked when its word is synthesized.
    """
    if len(entries) > MAX_PRONUNCIATIONS:
        raise InvalidRequest(f"The dictionary has {len(entries)} words; {MAX_PRONUNCIATIONS} is the most.")
    for word, pronunciation in entries.items():
        if has_surrogates(word + pronunciation):
            raise InvalidRequest(f"The dictionary's word {word[:40]!r} or its pronunciation has half a character.")
        word_fits = 1 <= len(word.strip()) <= MAX_PRONUNCIATION_WORD_LENGTH
        if not word_fits or not 1 <= len(pronunciation.strip()) <= MAX_PRONUNCIATION_LENGTH:
            raise InvalidRequest(
                f"The dictionary's word {word[:40]!r} or its pronunciation is empty or too long.",
                hint=f"A word has up to {MAX_PRONUNCIATION_WORD_LENGTH} characters, "
                f"a pronunciation up to {MAX_PRONUNCIATION_LENGTH}.",
            )
    return entries


def replace_surrogates(text: str) -> str:
    """Return the text with `�` for each lone surrogate, which cannot be encoded."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text) if has_surrogates(text) else text


def has_surrogates(text: str) -> bool:
    """Return whether a text cannot be encoded because of lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
