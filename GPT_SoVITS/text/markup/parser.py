"""Read a text with markup: inline tags for pronunciations and pauses, or SSML; docs/text.md shows all of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from common.text_origins import TextOrigin, literal, replaced
from GPT_SoVITS.text.languages import REGISTRY, resolve_language
from GPT_SoVITS.text.markup.dictionary import AnnotatedTextBuilder, PronunciationDictionary
from GPT_SoVITS.text.markup.inline_tags import parse_inline_tags
from GPT_SoVITS.text.markup.items import MarkupChunk, MarkupItem, Passage, Pause, bad_markup
from GPT_SoVITS.text.markup.notation import is_cantonese
from GPT_SoVITS.text.markup.say_as import say_as
from GPT_SoVITS.text.markup.ssml import parse_ssml
from GPT_SoVITS.text.segmentation import segment_by_language

INPUT_TYPES = ("auto", "text", "marks", "ssml")
"""`auto`: SSML where the text begins with `<speak`, else `marks`, which are inline tags. `text`: nothing is a tag."""
SSML = re.compile(r"[\ufeff\s]{0,99}(?:<\?xml[^<>]{0,200}>\s{0,99})?<speak[\s/>]")
MAX_PAUSE_SECONDS = 10.0
"""Of one pause."""
MAX_TOTAL_PAUSE_SECONDS = 300.0
"""Of all pauses of a text."""


def read_markup(
    text: str,
    language: str = "auto",
    *,
    input_type: str = "auto",
    pronunciations: Mapping[str, str] | None = None,
    number_language: str = "",
) -> list[Passage | Pause]:
    """Return what is to be heard, in order: pauses, and passages with a rate and the pronunciations of their stretches.

    Neighbors of one rate become one passage, neighboring pauses one pause; passages without a character are dropped.
    `pronunciations`: a user's dictionary, word → notation. `number_language`: the single language of `say-as` where no
    word tells one.

    Raises ModelError `bad_markup` and `bad_pronunciation`, which say where, and `unsupported_language`.
    """
    code: str = resolve_language(language)
    if input_type not in INPUT_TYPES:
        raise bad_markup(f"There is no input type {input_type[:40]!r}.", f"Use one of {', '.join(INPUT_TYPES)}.")
    if input_type == "auto":
        input_type = "ssml" if SSML.match(text) else "marks"
    items: Iterable[MarkupItem] = [MarkupChunk(text, origins=literal(len(text), 0))]
    if input_type == "ssml":
        items, code = parse_ssml(text, code)
    elif input_type == "marks":
        items = list(parse_inline_tags(text, code))
    dictionary = PronunciationDictionary(pronunciations or {}, cantonese=is_cantonese(code))
    script: list[Passage | Pause] = []
    silence = total = 0.0
    audible = (item for item in items if not isinstance(item, Pause) or item.seconds)
    for rate, group in groupby(audible, lambda item: item.rate if isinstance(item, MarkupChunk) else None):
        if rate is None:
            silence += sum(item.seconds for item in group if isinstance(item, Pause))
            continue
        chunks = [item for item in group if isinstance(item, MarkupChunk)]
        passage = _passage(chunks, code, dictionary, rate, number_language)
        if not passage.text.strip():
            continue
        if silence:
            total += silence
            script.append(_checked_pause(silence, total))
        silence = 0.0
        script.append(passage)
    if silence:
        script.append(_checked_pause(silence, total + silence))
    return script


def _checked_pause(seconds: float, total: float) -> Pause:
    if seconds > MAX_PAUSE_SECONDS:
        raise bad_markup(f"The pauses are too long: one pause may last {MAX_PAUSE_SECONDS:g} s.")
    if total > MAX_TOTAL_PAUSE_SECONDS:
        raise bad_markup(f"The pauses are too long: all may last {MAX_TOTAL_PAUSE_SECONDS:g} s.")
    return Pause(seconds)


def _passage(
    chunks: Sequence[MarkupChunk], code: str, dictionary: PronunciationDictionary, rate: float, number_language: str
) -> Passage:
    languages = {chunk.language for chunk in chunks if chunk.text.strip()}
    if len(languages) == 1 and (common := languages.pop()):
        code = common
    spoken = _languages_of_say_as(chunks, code, number_language)
    builder = AnnotatedTextBuilder()
    for index, chunk in enumerate(chunks):
        language = "" if chunk.language == code else chunk.language
        if chunk.say_as is not None:
            words = say_as(chunk.text, chunk.say_as, spoken[index])
            builder.add(words, 0, language, origins=_as_one(chunk))
        elif (pronunciation := chunk.pronunciation) is not None:
            origins = chunk.origins if pronunciation.text == chunk.text else _as_one(chunk)
            builder.add(pronunciation.text, 0, pronunciation.language or language, pronunciation.units, origins)
        else:
            builder.add_with_dictionary(chunk.text, 0, dictionary, language, chunk.origins)
    return Passage(builder.text, code, tuple(builder.pronunciations), rate, tuple(builder.text_origins))


def _as_one(chunk: MarkupChunk) -> tuple[TextOrigin, ...]:
    """Return the origin of other words that are spoken in the place of a chunk."""
    if not chunk.origins:
        return ()
    return replaced(chunk.text.strip(), chunk.origins[0].begin, chunk.origins[-1].source_end)


def _languages_of_say_as(chunks: Sequence[MarkupChunk], code: str, number_language: str) -> dict[int, str]:
    """Return index → the language that is spoken where a chunk with `say_as` stands."""
    if not any(chunk.say_as for chunk in chunks):
        return {}
    segments = segment_by_language("".join(chunk.text for chunk in chunks), code, number_language)
    languages: dict[int, str] = {}
    start = 0
    for index, chunk in enumerate(chunks):
        if chunk.say_as is not None:
            single = (chunk.language or code).removeprefix("all_")
            if single not in REGISTRY:
                around = (segment.language for segment in segments if segment.start <= start < segment.end)
                single = next(around, "en")
            languages[index] = single
        start += len(chunk.text)
    return languages
