"""A text cut into utterances: whole sentences where they are short enough to be spoken in one breath."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from GPT_SoVITS.text.frontend import Frontend, nothing_to_say
from GPT_SoVITS.text.language import MODULES, resolve
from GPT_SoVITS.text.segment import script

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


def split_for_speech(text: str, language: str) -> list[Utterance]:
    """Every word of the text, in order, in utterances of about 200 phones at most.

    What cannot be read stays beside what can, so that each utterance has something to say. Raises ModelError
    `unsupported_language`, `empty_text`, `unreadable_text`.
    """
    code = resolve(language)
    speaks = Frontend().says_something
    fragments = [piece for sentence in _sentences(text) for piece in _short_enough(sentence)]
    spoken = _with_something_to_say(fragments, lambda fragment: speaks(fragment, code))
    if not spoken:
        raise nothing_to_say(Frontend().skipped(text, code))
    return list(_with_languages(_join_short(spoken), code, speaks))


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


def _with_something_to_say(fragments: list[str], speaks: Callable[[str], bool]) -> list[str]:
    """Fragments without a word joined to the one before, those at the start to the first that has one."""
    utterances: list[list[str]] = []
    waiting: list[str] = []
    for fragment in fragments:
        if speaks(fragment):
            utterances.append([*waiting, fragment])
            waiting = []
        elif utterances:
            utterances[-1].append(fragment)
        else:
            waiting.append(fragment)
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


def _with_languages(utterances: list[str], code: str, speaks: Callable[[str, str], bool]) -> Iterator[Utterance]:
    """Under `auto`, an utterance of figures alone keeps the language of the words before it, or of those to come."""
    known = next((found for found in map(script, utterances) if found), "")
    for text in utterances:
        found = script(text) if code == "auto" else ""
        known = found or known
        language = known if code == "auto" and not found and known in MODULES else code
        if not speaks(text, language):  # what it was joined with made it seem another language's
            language = next((other for other in MODULES if speaks(text, other)), language)
        yield Utterance(text.strip(), language)
