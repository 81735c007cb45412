"""Splitting a text into utterances: a short one in this process, at once, a long one as a job of the splitter."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from core.errors import SovitsError, error_from_code
from core.speech.requests import SpeechRequest

if TYPE_CHECKING:
    from GPT_SoVITS.text import UtteranceText

MAX_CHARACTERS: Final = 1000
"""Of a text that is split in this process; a millisecond or two."""


async def split_short_text(request: SpeechRequest) -> list[UtteranceText]:
    """Return the utterances of a text of at most MAX_CHARACTERS.

    Raises the errors of texts: BadMarkup, BadPronunciation, UnreadableText, EmptyText, UnsupportedLanguage.
    """
    return await asyncio.to_thread(_split, request)


class NamedPassage(NamedTuple):
    """Words of a text in one voice."""

    text: str
    language: str
    voice: str
    """Its name; empty for that of the request."""


async def read_passages(request: SpeechRequest) -> list[NamedPassage]:
    """Return the passages of a text of any length, without pronunciations; raise as above."""
    return await asyncio.to_thread(_passages, request)


async def prepare_splitting() -> None:
    """Load the text front end, so that the first request does not wait for it; its tables come with their languages."""
    await asyncio.to_thread(_split, SpeechRequest(text="Hello.", language="en", voice_id=""))


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a text with their punctuation and whitespace; together they are the text."""
    from GPT_SoVITS.text.splitting import fragments

    return fragments.sentences(text)


def _passages(request: SpeechRequest) -> list[NamedPassage]:
    from GPT_SoVITS.text import Passage, read_markup

    with _text_errors():
        script = read_markup(request.text, request.language, input_type=request.input_type, voice=request.first_voice)
    return [NamedPassage(item.text, item.language, item.voice) for item in script if isinstance(item, Passage)]


@contextlib.contextmanager
def _text_errors() -> Iterator[None]:
    """Raise the errors of the text front end as those of the API."""
    from GPT_SoVITS.errors import ModelError

    try:
        yield
    except ModelError as error:
        failure: SovitsError = error_from_code(error.code, error.message, hint=error.hint, permanent=error.permanent)
        raise failure from error


def _split(request: SpeechRequest) -> list[UtteranceText]:
    # The front end loads no torch; its first call reads the tables of the text's languages.
    from GPT_SoVITS.text import read_markup, split_script

    with _text_errors():
        script = read_markup(
            request.text,
            request.language,
            input_type=request.input_type,
            pronunciations=request.pronunciations,
            voice_pronunciations={name: voice.pronunciations for name, voice in request.voices.items()},
            voice=request.first_voice,
            number_language=request.number_language,
        )
        return split_script(script, request.number_language, request.text_split_method)


def voice_at_end(request: SpeechRequest) -> str:
    """Return the name of the voice in which a text ends; "" for that of the request."""
    from GPT_SoVITS.text import last_voice

    return last_voice(request.text, request.first_voice) if request.input_type in ("auto", "marks") else ""
