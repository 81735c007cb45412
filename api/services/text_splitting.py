"""Splitting a text into utterances: a short one in this process, at once, a long one as a job of the splitter."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

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


async def prepare_splitting() -> None:
    """Load the text front end, so that the first request does not wait for it; its tables come with their languages."""
    await asyncio.to_thread(_split, SpeechRequest(text="Hello.", language="en", voice_id=""))


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a text with their punctuation and whitespace; together they are the text."""
    from GPT_SoVITS.text.splitting import fragments

    return fragments.sentences(text)


def _split(request: SpeechRequest) -> list[UtteranceText]:
    # The front end loads no torch; its first call reads the tables of the text's languages.
    from GPT_SoVITS.errors import ModelError
    from GPT_SoVITS.text import read_markup, split_script

    try:
        script = read_markup(
            request.text,
            request.language,
            input_type=request.input_type,
            pronunciations=request.pronunciations,
            number_language=request.number_language,
        )
        return split_script(script, request.number_language, request.text_split_method)
    except ModelError as error:
        failure: SovitsError = error_from_code(error.code, error.message, hint=error.hint, permanent=error.permanent)
        raise failure from error
