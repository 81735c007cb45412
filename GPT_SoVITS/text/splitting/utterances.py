"""Split a text into utterances: whole sentences where they are short enough to be spoken in one breath."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from common.text_origins import TextOrigin, cut_origins, literal
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text.languages import REGISTRY, resolve_language
from GPT_SoVITS.text.markup.items import MarkPlace, Passage, Pause
from GPT_SoVITS.text.markup.notation import InlinePronunciation
from GPT_SoVITS.text.phonemization.frontend import TextFrontend, nothing_to_say
from GPT_SoVITS.text.segmentation import language_of_last_letters, segment_by_language
from GPT_SoVITS.text.splitting.cut_methods import fragments_by_method
from GPT_SoVITS.text.splitting.fragments import cut_long, join_short, sentences


@dataclass(frozen=True, slots=True)
class UtteranceText:
    """The text of one utterance."""

    text: str
    language: str
    """A language code."""
    pronunciations: tuple[InlinePronunciation, ...] = ()
    """Those that a user gave to stretches of the text."""
    rate: float = 1.0
    """Times the requested speed."""
    pitch: float = 0.0
    gain: float = 1.0
    voice: str = ""
    """As those of `Passage`."""
    marks: tuple[MarkPlace, ...] = ()
    silence_before: float = 0.0
    """Seconds of a pause in the markup."""
    silence_after: float = 0.0
    origins: tuple[TextOrigin, ...] = field(default=(), compare=False)
    """Where it stands in the text with its markup."""


def split_script(
    script: Iterable[Passage | Pause], number_language: str = "", method: str | None = None
) -> list[UtteranceText]:
    """Return the utterances of what `read_markup` returned, with its pauses before and after them.

    `number_language`: as for `split_for_speech`, of a script without a word that tells it; `method`: as there.
    Passages of punctuation alone are dropped where others have words. Raises as `split_for_speech`.
    """
    items = list(script)
    for item in items:
        if isinstance(item, Pause) or not item.language.startswith("auto"):
            continue
        if words_language := language_of_last_letters(item.text):
            number_language = words_language.replace("zh", "yue" if item.language == "auto_yue" else "zh")
            break
    utterances: list[UtteranceText] = []
    silence = 0.0
    marks: tuple[MarkPlace, ...] = ()
    """Of passages that were dropped."""
    wordless: ModelError | None = None
    for item in items:
        if isinstance(item, Pause):
            silence += item.seconds
            continue
        try:
            passage = split_for_speech(
                item.text, item.language, item.pronunciations, number_language, method, item.origins
            )
        except ModelError as error:
            if error.code not in ("empty_text", "unreadable_text"):
                raise
            wordless = error if wordless is None or wordless.code == "empty_text" else wordless
            marks += tuple(MarkPlace(mark.name, 0) for mark in item.marks)
            continue
        if utterances:
            utterances[-1] = replace(utterances[-1], silence_after=silence)
        else:
            passage[0] = replace(passage[0], silence_before=silence)
        silence = 0.0
        spoken = _with_marks(passage, (*marks, *item.marks), item.text)
        marks = ()
        utterances += [
            replace(utterance, rate=item.rate, pitch=item.pitch, gain=item.gain, voice=item.voice)
            for utterance in spoken
        ]
    if not utterances:
        raise wordless or nothing_to_say([])
    last = utterances[-1]
    behind = tuple(MarkPlace(mark.name, len(last.text) + 1) for mark in marks)
    utterances[-1] = replace(last, silence_after=silence, marks=(*last.marks, *behind))
    return utterances


def _with_marks(utterances: list[UtteranceText], marks: Sequence[MarkPlace], text: str) -> list[UtteranceText]:
    """Return the utterances of a passage with its marks, each in the first one that does not end before it."""
    if not marks:
        return utterances
    own: list[list[MarkPlace]] = [[] for _ in utterances]
    start = index = 0
    begin = text.find(utterances[0].text)
    for mark in marks:
        while index + 1 < len(utterances) and mark.position > begin + len(utterances[index].text):
            start = begin + len(utterances[index].text)
            index += 1
            begin = text.find(utterances[index].text, start)
        length = len(utterances[index].text)
        behind_silence = mark.position > len(text)
        position = length + 1 if behind_silence else min(max(0, mark.position - begin), length)
        own[index].append(MarkPlace(mark.name, position))
    return [replace(utterance, marks=tuple(places)) for utterance, places in zip(utterances, own)]


def split_for_speech(
    text: str,
    language: str,
    pronunciations: Sequence[InlinePronunciation] = (),
    number_language: str = "",
    method: str | None = None,
    origins: Sequence[TextOrigin] | None = None,
) -> list[UtteranceText]:
    """Return every word of the text, in order, in utterances of about 200 phonemes at most.

    What cannot be read stays beside what can, so that each utterance has something to say. No stretch with one of the
    `pronunciations`, which are in order, is cut in two. `number_language`: the single language that reads numbers
    where the text has no word that tells theirs, under `auto…`. `method`: one of upstream's CUT_METHODS; None cuts at
    the ends of sentences and joins very short ones. `origins`: where the text comes from. Raises ModelError
    `unsupported_language`, `empty_text`, `unreadable_text`, `unknown_split_method`.
    """
    code = resolve_language(language)
    frontend = TextFrontend()
    pieces = sentences(text) if method is None else fragments_by_method(text, method)
    fragments = [fragment for piece in pieces for fragment in cut_long(piece)]
    if pronunciations:
        fragments = _join_cut_pronunciations(fragments, pronunciations)

    def has_words(start: int, fragment: str, code: str = code) -> bool:
        return frontend.has_words(fragment.strip(), code, pronunciations_within(pronunciations, start, fragment))

    with_words = _join_wordless(fragments, has_words)
    if not with_words:
        raise nothing_to_say(frontend.skipped(text, code))
    if method is None:
        with_words = join_short(with_words)
    origins = literal(len(text), 0) if origins is None else origins
    utterances = []
    start = 0
    for utterance, own_code in _with_languages(with_words, text, code, has_words, number_language):
        own_pronunciations = pronunciations_within(pronunciations, start, utterance)
        words, indent = utterance.strip(), start + len(utterance) - len(utterance.lstrip())
        own_origins = cut_origins(origins, indent, indent + len(words))
        utterances.append(UtteranceText(words, own_code, own_pronunciations, origins=own_origins))
        start += len(utterance)
    return utterances


def pronunciations_within(
    pronunciations: Sequence[InlinePronunciation], start: int, text: str
) -> tuple[InlinePronunciation, ...]:
    """Return those in a stretch that begins at `start`, counted from its first character that is no whitespace."""
    if not pronunciations:
        return ()
    first = bisect_right(pronunciations, start, key=lambda pronunciation: pronunciation.end)
    last = bisect_left(pronunciations, start + len(text), key=lambda pronunciation: pronunciation.start)
    offset = start + len(text) - len(text.lstrip())
    end = len(text.strip())
    shifted = (
        replace(pronunciation, start=max(pronunciation.start - offset, 0), end=min(pronunciation.end - offset, end))
        for pronunciation in pronunciations[first:last]
    )
    return tuple(pronunciation for pronunciation in shifted if pronunciation.start < pronunciation.end)


def _join_cut_pronunciations(fragments: list[str], pronunciations: Sequence[InlinePronunciation]) -> list[str]:
    """Join fragments whose border lies inside a stretch with phonemes that a user gave."""
    inside = {
        position
        for pronunciation in pronunciations
        if pronunciation.units
        for position in range(pronunciation.start + 1, pronunciation.end)
    }
    joined: list[str] = []
    start = 0
    for fragment in fragments:
        if start in inside:
            joined[-1] += fragment
        else:
            joined.append(fragment)
        start += len(fragment)
    return joined


def _join_wordless(fragments: list[str], has_words: Callable[[int, str], bool]) -> list[str]:
    """Join fragments without a word to the one before, those at the start to the first that has one."""
    utterances: list[list[str]] = []
    pending: list[str] = []
    start = 0
    for fragment in fragments:
        if has_words(start, fragment):
            utterances.append([*pending, fragment])
            pending = []
        elif utterances:
            utterances[-1].append(fragment)
        else:
            pending.append(fragment)
        start += len(fragment)
    return ["".join(fragments) for fragments in utterances]


def _with_languages(
    utterances: list[str], text: str, code: str, has_words: Callable[[int, str, str], bool], number_language: str
) -> Iterator[tuple[str, str]]:
    """Yield each utterance with the code that reads it as in the whole text.

    Under `auto…` an utterance of digits alone takes the language of the words before it, or that of numbers.
    """
    automatic = code.startswith("auto")
    mandarin = "yue" if code == "auto_yue" else "zh"
    languages = [
        language_of_last_letters(utterance).replace("zh", mandarin) if automatic else "" for utterance in utterances
    ]
    previous = next(filter(None, languages), number_language)
    japanese = [segment for segment in segment_by_language(text, code) if segment.language == "ja"] if automatic else []
    start = 0
    for utterance, own in zip(utterances, languages):
        end = start + len(utterance)
        previous = own or previous
        language: str = code if own or not automatic else previous or code
        if own == mandarin and japanese:  # its clause may have kana that are in another utterance
            index = bisect_right(japanese, start, key=lambda segment: segment.start) - 1
            if index >= 0 and end <= japanese[index].end:
                language = "ja"
        if not has_words(start, utterance, language):  # what it was joined with made it seem another language's
            candidates = (candidate for candidate in (mandarin, *REGISTRY) if has_words(start, utterance, candidate))
            language = next(candidates, language)
        yield utterance, language
        start = end
