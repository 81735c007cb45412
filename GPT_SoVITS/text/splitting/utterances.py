"""A text cut into utterances: whole sentences where they are short enough to be spoken in one breath."""

from __future__ import annotations

import re
import string
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text.languages import REGISTRY, resolve
from GPT_SoVITS.text.markup.items import Passage, Pause
from GPT_SoVITS.text.markup.notation import Reading
from GPT_SoVITS.text.phonemization.frontend import Frontend, nothing_to_say
from GPT_SoVITS.text.segmentation import Piece, script, segment

MOST_PHONES = 200
"""Estimated phones of one utterance: about fifteen seconds."""
FEWEST_PHONES = 12
"""A shorter sentence is spoken together with its neighbour."""
SENTENCE_END = re.compile(r"[。！？!?…；\n]+[\"'”’」』）)\]]{0,3}|\.+[\"'”’」』）)\]]{0,3}(?=\s|$|[一-龥ぁ-ヿ가-힣])")
ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'“‘])(?:Dr|Mr|Mrs|Ms|St|Prof|Sr|Jr|Gen|Capt|Lt|Col|Sgt|Rev|No|no|vs|approx|e\.g|i\.e|[A-Z])\.$"
)
LIST_NUMBER = re.compile(r"(?:^|\n)\s{0,9}[0-9]{1,3}\.$")
COMMAS = re.compile(r"(?<=[，、；：,;:—])(?![0-9])")
BLANKS = re.compile(r"(?<=\s)(?=\S)")
WEIGHTS = {
    **dict.fromkeys(string.whitespace, 0),
    **dict.fromkeys(string.ascii_uppercase, 2),  # some are spelled
    **dict.fromkeys(string.digits, 5),
    **dict.fromkeys("%$&@+=/#", 8),
}
"""About how many phones an ASCII character is read as, where it is not one."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """What is spoken in one go."""

    text: str
    language: str
    """A language code."""
    readings: tuple[Reading, ...] = ()
    """What a user said of places in the text."""
    rate: float = 1.0
    """Times the speed that was asked for."""
    silence_before: float = 0.0
    """Seconds of a pause that was asked for."""
    silence_after: float = 0.0


def split_script(script: Iterable[Passage | Pause]) -> list[Utterance]:
    """The utterances of what `read_markup` found, with its pauses before and after them.

    Passages of marks alone go where others have words. Raises as `split_for_speech`.
    """
    utterances: list[Utterance] = []
    silence = 0.0
    refused: ModelError | None = None
    for item in script:
        if isinstance(item, Pause):
            silence += item.seconds
            continue
        try:
            parts = split_for_speech(item.text, item.language, item.readings)
        except ModelError as error:
            if error.code not in ("empty_text", "unreadable_text"):
                raise
            refused = error if refused is None or refused.code == "empty_text" else refused
            continue
        if utterances:
            utterances[-1] = replace(utterances[-1], silence_after=silence)
        else:
            parts[0] = replace(parts[0], silence_before=silence)
        silence = 0.0
        utterances += [replace(part, rate=item.rate) for part in parts]
    if not utterances:
        raise refused or nothing_to_say([])
    utterances[-1] = replace(utterances[-1], silence_after=silence)
    return utterances


def split_for_speech(text: str, language: str, readings: Sequence[Reading] = ()) -> list[Utterance]:
    """Every word of the text, in order, in utterances of about 200 phones at most.

    What cannot be read stays beside what can, so that each utterance has something to say. `readings` are those of
    places in the text; none is cut in two. Raises ModelError `unsupported_language`, `empty_text`, `unreadable_text`.
    """
    code = resolve(language)
    frontend = Frontend()
    fragments = [piece for sentence in _sentences(text) for piece in _short_enough(sentence)]
    if readings:
        fragments = _with_readings_whole(fragments, readings)
    given = _Given(readings)

    def speaks(start: int, fragment: str, code: str = code) -> bool:
        return frontend.says_something(fragment.strip(), code, given.at(start, fragment))

    spoken = _with_something_to_say(fragments, speaks)
    if not spoken:
        raise nothing_to_say(frontend.skipped(text, code))
    return list(_with_languages(_join_short(spoken), text, code, speaks, given))


class _Given:
    """The readings of a text, found again in its utterances."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        self.readings = readings

    def at(self, start: int, text: str) -> tuple[Reading, ...]:
        """Those in an utterance that begins at `start`, counted from its first character that is no blank."""
        if not self.readings:
            return ()
        first = bisect_right(self.readings, start, key=lambda reading: reading.end)
        last = bisect_left(self.readings, start + len(text), key=lambda reading: reading.start)
        shift = start + len(text) - len(text.lstrip())
        end = len(text.strip())
        moved = (
            replace(one, start=max(one.start - shift, 0), end=min(one.end - shift, end))
            for one in self.readings[first:last]
        )
        return tuple(one for one in moved if one.start < one.end)


def _with_readings_whole(fragments: list[str], readings: Sequence[Reading]) -> list[str]:
    """The fragments; those joined whose border lies inside the place of phones that a user gave."""
    inside = {place for one in readings if one.units for place in range(one.start + 1, one.end)}
    whole: list[str] = []
    place = 0
    for fragment in fragments:
        if place in inside:
            whole[-1] += fragment
        else:
            whole.append(fragment)
        place += len(fragment)
    return whole


def _sentences(text: str) -> Iterator[str]:
    """Sentences with their marks and blanks; together they are the text."""
    start = 0
    for match in SENTENCE_END.finditer(text):
        if match[0].startswith(".") and _goes_on(text[max(start, match.end() - 16) : match.end()]):
            continue
        yield text[start : match.end()]
        start = match.end()
    yield text[start:]


def _goes_on(tail: str) -> bool:
    """Whether the point that ends `tail` belongs to an abbreviation, an initial or the number of a list item."""
    return bool(ABBREVIATION.search(tail) or LIST_NUMBER.search(tail))


def _short_enough(sentence: str) -> list[str]:
    """The sentence, or its parts: cut at commas, then at blanks, then anywhere."""
    pieces = [sentence]
    for cutter in (COMMAS.split, BLANKS.split, list):
        if all(_phones(piece) <= MOST_PHONES for piece in pieces):
            break
        pieces = [
            part
            for piece in pieces
            for part in ([piece] if _phones(piece) <= MOST_PHONES else _pack(filter(None, cutter(piece))))
        ]
    return pieces


def _pack(atoms: Iterable[str]) -> list[str]:
    """Neighbours joined as long as they fit; an atom that is too long by itself stays alone."""
    packed: list[list[str]] = []
    size = 0
    for atom in atoms:
        phones = _phones(atom)
        if not packed or size + phones > MOST_PHONES:
            packed.append([])
            size = 0
        packed[-1].append(atom)
        size += phones
    return ["".join(atoms) for atoms in packed]


def _phones(text: str) -> int:
    """About how many phones the text has; rather too many than too few."""
    return sum(map(_weight, text))


def _weight(character: str) -> int:
    if character.isascii():
        return WEIGHTS.get(character, 1)
    if "一" <= character <= "鿿":
        return 2
    return {"L": 3, "N": 8, "S": 10}.get(unicodedata.category(character)[0], 1)


def _with_something_to_say(fragments: list[str], speaks: Callable[[int, str], bool]) -> list[str]:
    """Fragments without a word joined to the one before, those at the start to the first that has one."""
    utterances: list[list[str]] = []
    waiting: list[str] = []
    start = 0
    for fragment in fragments:
        if speaks(start, fragment):
            utterances.append([*waiting, fragment])
            waiting = []
        elif utterances:
            utterances[-1].append(fragment)
        else:
            waiting.append(fragment)
        start += len(fragment)
    return ["".join(parts) for parts in utterances]


def _join_short(utterances: list[str]) -> list[str]:
    """A very short sentence joined to the next of its paragraph, the last one to the one before it."""
    joined: list[str] = []
    for utterance in utterances:
        short = _phones(utterance) < FEWEST_PHONES or (joined and _phones(joined[-1]) < FEWEST_PHONES)
        if joined and short and "\n" not in joined[-1] and _phones(joined[-1]) + _phones(utterance) <= MOST_PHONES:
            joined[-1] += utterance
        else:
            joined.append(utterance)
    return joined


def _with_languages(
    utterances: list[str], whole: str, code: str, speaks: Callable[[int, str, str], bool], given: _Given
) -> Iterator[Utterance]:
    """Each with the code that reads it as in the whole text; but one of figures alone goes with the words before it."""
    mandarin = "yue" if code == "auto_yue" else "zh"
    scripts = [script(text).replace("zh", mandarin) if code.startswith("auto") else "" for text in utterances]
    known = next(filter(None, scripts), "")
    japanese = _stretches_of("ja", segment(whole, code)) if code.startswith("auto") else []
    start = 0
    for text, found in zip(utterances, scripts):
        known = found or known
        language = code if found or not code.startswith("auto") else known or code
        if found == mandarin and _inside(start, start + len(text), japanese):
            language = "ja"  # its clause has kana, but they are in another utterance
        if not speaks(start, text, language):  # what it was joined with made it seem another language's
            language = next((other for other in (mandarin, *REGISTRY) if speaks(start, text, other)), language)
        yield Utterance(text.strip(), language, given.at(start, text))
        start += len(text)


def _stretches_of(language: str, pieces: list[Piece]) -> list[tuple[int, int]]:
    return [(piece.start, piece.start + len(piece.text)) for piece in pieces if piece.language == language]


def _inside(start: int, end: int, stretches: list[tuple[int, int]]) -> bool:
    """Whether one of the stretches, which are in order, holds all from `start` to `end`."""
    place = bisect_right(stretches, start, key=lambda stretch: stretch[0]) - 1
    return place >= 0 and end <= stretches[place][1]
