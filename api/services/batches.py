"""Batches of texts: every text checked, every file with a name of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from api.http.errors import InvalidBody
from api.services.speech import SpeechOptions, SpeechService
from common.audio_formats import FILE_EXTENSIONS, AudioFormat
from core.errors import SovitsError
from core.speech.inference_jobs import BatchItem

_FILENAME: Final = re.compile(r"[^\x00-\x1f\x7f/\\:*?\"<>|]{1,100}")
"""Names that every file system accepts."""


@dataclass(frozen=True, slots=True)
class BatchText:
    """One text of a batch."""

    text: str
    voice: str
    """Name or id."""
    options: SpeechOptions
    audio_format: AudioFormat
    filename: str = ""
    """In the archive, with or without extension; empty for its number."""


async def check_batch(speech: SpeechService, texts: Sequence[BatchText]) -> list[BatchItem]:
    """Return the items of a batch if every one of them can be spoken; an error names the item's number."""
    filenames = _unique_filenames(texts)
    items = []
    for number, (item, filename) in enumerate(zip(texts, filenames, strict=True)):
        if not item.voice:
            raise InvalidBody(f"The item {number} names no voice, and neither does the batch.")
        try:
            request = await speech.request(item.text, item.voice, item.options)
        except SovitsError as error:
            error.message = f"Item {number}: {error.message}"
            error.details = {**error.details, "item": number}
            raise
        items.append(BatchItem(speech=request, format=item.audio_format, filename=filename))
    characters = sum(len(item.speech.text) for item in items)
    longest = speech.settings.max_text_characters
    if characters > longest:
        raise InvalidBody(
            f"The texts have {characters:,} characters in all; {longest:,} is the most.", hint="Send two."
        )
    return items


def _unique_filenames(texts: Sequence[BatchText]) -> list[str]:
    """Return a file name with extension for each text; InvalidBody for two that differ in letter case at most."""
    filenames: list[str] = []
    numbers: dict[str, int] = {}
    for number, item in enumerate(texts):
        extension = f".{FILE_EXTENSIONS[item.audio_format]}"
        stem = item.filename.removesuffix(extension).strip(" .") if item.filename else f"{number + 1:03d}"
        if not _FILENAME.fullmatch(stem):
            raise InvalidBody(
                f"Item {number}: {item.filename!r} is no name for a file.",
                hint='Up to 100 characters, without / \\ : * ? " < > | and what cannot be seen.',
            )
        filename = stem + extension
        if filename.casefold() in numbers:
            first = numbers[filename.casefold()]
            raise InvalidBody(f"The items {first} and {number} have the same file name, {filename!r}.")
        numbers[filename.casefold()] = number
        filenames.append(filename)
    return filenames
