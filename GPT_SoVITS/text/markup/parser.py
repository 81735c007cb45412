"""What a user may write into a text: marks for readings and pauses, or SSML; docs/text.md shows all of it.

`read_markup` gives what is to be heard, in order: pauses, and passages with a rate and the readings of places in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from GPT_SoVITS.text.languages import REGISTRY, resolve
from GPT_SoVITS.text.markup.dictionary import Pronunciations, Said
from GPT_SoVITS.text.markup.inline_tags import parse_marks
from GPT_SoVITS.text.markup.items import Chunk, Item, Passage, Pause, bad_markup
from GPT_SoVITS.text.markup.notation import is_cantonese
from GPT_SoVITS.text.markup.say_as import say_as
from GPT_SoVITS.text.markup.ssml import parse_ssml
from GPT_SoVITS.text.segmentation import segment

INPUT_TYPES = ("auto", "text", "marks", "ssml")
"""`auto`: SSML where the text begins with `<speak`, else marks. `text`: nothing is a mark."""
SSML = re.compile(r"[\ufeff\s]{0,99}(?:<\?xml[^<>]{0,200}>\s{0,99})?<speak[\s/>]")
LONGEST_PAUSE = 10.0
"""Seconds of one pause."""
LONGEST_SILENCE = 300.0
"""Seconds of all pauses of a text."""


def read_markup(
    text: str,
    language: str = "auto",
    *,
    input_type: str = "auto",
    pronunciations: Mapping[str, str] | None = None,
) -> list[Passage | Pause]:
    """What is to be heard, in order; neighbouring pauses are one.

    Raises ModelError `bad_markup` and `bad_pronunciation`, which say where, and `unsupported_language`.
    """
    code = resolve(language)
    if input_type not in INPUT_TYPES:
        raise bad_markup(f"There is no input type {input_type[:40]!r}.", f"Use one of {', '.join(INPUT_TYPES)}.")
    if input_type == "auto":
        input_type = "ssml" if SSML.match(text) else "marks"
    items, code = _parsed(text, code, input_type)
    dictionary = Pronunciations(pronunciations or {}, cantonese=is_cantonese(code))
    return list(_joined(items, code, dictionary))


def _parsed(text: str, code: str, input_type: str) -> tuple[list[Item], str]:
    if input_type == "ssml":
        return parse_ssml(text, code)
    if input_type == "marks":
        return list(parse_marks(text, code)), code
    return [Chunk(text)], code


def _joined(items: Iterable[Item], code: str, dictionary: Pronunciations) -> Iterator[Passage | Pause]:
    """Neighbours of one rate as one passage, neighbouring pauses as one; passages without a character go."""
    silence = total = 0.0
    items = (item for item in items if not isinstance(item, Pause) or item.seconds)
    for rate, group in groupby(items, lambda item: item.rate if isinstance(item, Chunk) else None):
        if rate is None:
            silence += sum(item.seconds for item in group if isinstance(item, Pause))
            continue
        passage = _passage([item for item in group if isinstance(item, Chunk)], code, dictionary, rate)
        if not passage.text.strip():
            continue
        total += silence
        if silence:
            yield _bounded(silence, total)
        silence = 0.0
        yield passage
    if silence:
        yield _bounded(silence, total + silence)


def _bounded(silence: float, total: float) -> Pause:
    for seconds, most, what in ((silence, LONGEST_PAUSE, "one pause"), (total, LONGEST_SILENCE, "all")):
        if seconds > most:
            raise bad_markup(f"The pauses are too long: {what} may last {most:g} s.")
    return Pause(silence)


def _passage(chunks: Sequence[Chunk], code: str, dictionary: Pronunciations, rate: float) -> Passage:
    languages = {chunk.language for chunk in chunks if chunk.text.strip()}
    if len(languages) == 1 and (whole := languages.pop()):
        code = whole
    spoken = _languages_of_figures(chunks, code)
    said = Said()
    for index, chunk in enumerate(chunks):
        language = "" if chunk.language == code else chunk.language
        if chunk.say_as is not None:
            said.add(say_as(chunk.text, chunk.say_as, spoken[index]), 0, language)
        elif chunk.reading is not None:
            said.add(chunk.reading.say, 0, chunk.reading.language or language, chunk.reading.units)
        else:
            said.add_plain(chunk.text, 0, dictionary, language)
    return Passage("".join(said.text), code, tuple(said.readings), rate)


def _languages_of_figures(chunks: Sequence[Chunk], code: str) -> dict[int, str]:
    """For each chunk that says how figures are read, the language that is spoken where it stands."""
    if not any(chunk.say_as for chunk in chunks):
        return {}
    starts, length = [], 0
    for chunk in chunks:
        starts.append(length)
        length += len(chunk.text)
    pieces = segment("".join(chunk.text for chunk in chunks), code)
    found = {}
    for index, chunk in enumerate(chunks):
        if chunk.say_as is None:
            continue
        own = chunk.language or code
        single = own.removeprefix("all_")
        inside = [piece.language for piece in pieces if piece.start <= starts[index] < piece.start + len(piece.text)]
        found[index] = single if single in REGISTRY else (inside or ["en"])[0]
    return found
