"""Read a text with markup: inline tags for pronunciations and pauses, or SSML; docs/text.md shows all of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from common.ssml_start import is_ssml
from common.text_origins import TextOrigin, literal, replaced
from GPT_SoVITS.text.languages import REGISTRY, resolve_language
from GPT_SoVITS.text.markup.dictionary import AnnotatedTextBuilder, PronunciationDictionary
from GPT_SoVITS.text.markup.inline_tags import parse_inline_tags
from GPT_SoVITS.text.markup.items import Mark, MarkPlace, MarkupChunk, MarkupItem, Passage, Pause, bad_markup
from GPT_SoVITS.text.markup.notation import is_cantonese
from GPT_SoVITS.text.markup.say_as import say_as
from GPT_SoVITS.text.markup.ssml import parse_ssml
from GPT_SoVITS.text.segmentation import segment_by_language

INPUT_TYPES = ("auto", "text", "marks", "ssml")
"""`auto`: SSML where the text begins with `<speak`, else `marks`, which are inline tags. `text`: nothing is a tag."""
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
    voice_pronunciations: Mapping[str, Mapping[str, str]] | None = None,
    number_language: str = "",
    voice: str = "",
) -> list[Passage | Pause]:
    """Return what is to be heard, in order: pauses, and passages with a rate and the pronunciations of their stretches.

    Neighbors of one voice, rate, pitch and volume become one passage, neighboring pauses one pause; passages without a
    character are dropped, and their marks stand before the next one.
    `pronunciations`: a user's dictionary, word → notation; `voice_pronunciations`: those of voices that the text names.
    `number_language`: the single language of `say-as` where no word tells one. `voice`: the one in which a text with
    inline tags begins.

    Raises ModelError `bad_markup` and `bad_pronunciation`, which say where, and `unsupported_language`.
    """
    code: str = resolve_language(language)
    if input_type not in INPUT_TYPES:
        raise bad_markup(f"There is no input type {input_type[:40]!r}.", f"Use one of {', '.join(INPUT_TYPES)}.")
    if input_type == "auto":
        input_type = "ssml" if is_ssml(text) else "marks"
    items: Iterable[MarkupItem] = [MarkupChunk(text, origins=literal(len(text), 0))]
    if input_type == "ssml":
        items, code = parse_ssml(text, code)
    elif input_type == "marks":
        items = list(parse_inline_tags(text, code, voice))
    entries = {"": pronunciations or {}, **(voice_pronunciations or {})}
    dictionaries = {
        name: PronunciationDictionary(words, cantonese=is_cantonese(code)) for name, words in entries.items()
    }
    script = _Script(code, dictionaries, number_language)
    for item in items:
        script.add(item)
    return script.finish()


class _Script:
    """Collects items into passages: neighbors of one manner become one, and neighboring pauses one pause."""

    def __init__(self, code: str, dictionaries: Mapping[str, PronunciationDictionary], number_language: str) -> None:
        self._code = code
        self._dictionaries = dictionaries
        """Voice → its dictionary; that of the request under the empty name."""
        self._number_language = number_language
        self._script: list[Passage | Pause] = []
        self._open: list[MarkupChunk | Mark] = []
        """Of the passage that is not complete."""
        self._manner: tuple[float, float, float, str] | None = None
        """Of its chunks."""
        self._silence = self._total = 0.0
        self._marks: list[str] = []
        """Names of those that stand before the next passage."""

    def add(self, item: MarkupItem) -> None:
        if isinstance(item, Pause):
            if item.seconds:
                self._end_passage()
                self._silence += item.seconds
            return
        if isinstance(item, MarkupChunk):
            if self._manner not in (None, item.manner):
                self._end_passage()
            self._manner = item.manner
        self._open.append(item)

    def finish(self) -> list[Passage | Pause]:
        """Return everything."""
        self._end_passage()
        silence = self._add_pause()
        passages = [index for index, item in enumerate(self._script) if isinstance(item, Passage)]
        if self._marks and passages:
            last = self._script[passages[-1]]
            assert isinstance(last, Passage)
            end = len(last.text) + silence
            marks = (*last.marks, *(MarkPlace(name, end) for name in self._marks))
            self._script[passages[-1]] = replace(last, marks=marks)
        return self._script

    def _end_passage(self) -> None:
        voice = self._manner[3] if self._manner is not None else ""
        dictionary = self._dictionaries.get(voice, self._dictionaries[""])
        passage = _passage(self._open, self._code, dictionary, self._number_language)
        self._open, self._manner = [], None
        if not passage.text.strip():
            self._marks += [mark.name for mark in passage.marks]
            return
        self._add_pause()
        before = tuple(MarkPlace(name, 0) for name in self._marks)
        self._marks = []
        self._script.append(replace(passage, marks=(*before, *passage.marks)))

    def _add_pause(self) -> bool:
        """Add the silence since the last passage; return whether there was any."""
        silence, self._silence = self._silence, 0.0
        if silence:
            self._total += silence
            self._script.append(_checked_pause(silence, self._total))
        return bool(silence)


def _checked_pause(seconds: float, total: float) -> Pause:
    if seconds > MAX_PAUSE_SECONDS:
        raise bad_markup(f"The pauses are too long: one pause may last {MAX_PAUSE_SECONDS:g} s.")
    if total > MAX_TOTAL_PAUSE_SECONDS:
        raise bad_markup(f"The pauses are too long: all may last {MAX_TOTAL_PAUSE_SECONDS:g} s.")
    return Pause(seconds)


def _passage(
    items: Sequence[MarkupChunk | Mark], code: str, dictionary: PronunciationDictionary, number_language: str
) -> Passage:
    chunks = [item for item in items if isinstance(item, MarkupChunk)]
    languages = {chunk.language for chunk in chunks if chunk.text.strip()}
    if len(languages) == 1 and (common := languages.pop()):
        code = common
    spoken = _languages_of_say_as(chunks, code, number_language)
    builder = AnnotatedTextBuilder()
    marks: list[MarkPlace] = []
    index = 0
    for item in items:
        if isinstance(item, Mark):
            marks.append(MarkPlace(item.name, len(builder.text)))
            continue
        chunk = item
        language = "" if chunk.language == code else chunk.language
        if chunk.say_as is not None:
            words = say_as(chunk.text, chunk.say_as, spoken[index])
            builder.add(words, 0, language, origins=_as_one(chunk))
        elif (pronunciation := chunk.pronunciation) is not None:
            origins = chunk.origins if pronunciation.text == chunk.text else _as_one(chunk)
            builder.add(pronunciation.text, 0, pronunciation.language or language, pronunciation.units, origins)
        else:
            builder.add_with_dictionary(chunk.text, 0, dictionary, language, chunk.origins)
        index += 1
    rate, pitch, gain, voice = chunks[0].manner if chunks else MarkupChunk("").manner
    return Passage(
        builder.text,
        code,
        tuple(builder.pronunciations),
        rate,
        pitch,
        gain,
        voice,
        tuple(marks),
        tuple(builder.text_origins),
    )


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
