"""Cut a text into fragments that can be spoken in one breath: sentences, or parts of long ones."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable, Iterator

MAX_PHONEMES = 200
"""Estimated phonemes of one utterance: about fifteen seconds."""
MIN_PHONEMES = 12
"""A shorter sentence is spoken together with its neighbor."""
SENTENCE_END = re.compile(r"[。！？!?…；\n]+[\"'”’」』）)\]]{0,3}|\.+[\"'”’」』）)\]]{0,3}(?=\s|$|[一-龥ぁ-ヿ가-힣])")
ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'“‘])(?:Dr|Mr|Mrs|Ms|St|Prof|Sr|Jr|Gen|Capt|Lt|Col|Sgt|Rev|No|no|vs|approx|e\.g|i\.e|[A-Z])\.$"
)
INNER_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'“‘])(?:(?:[A-Za-z]\.)+[A-Za-z]|etc|Inc|Ltd|Co|Corp|[Ff]igs?|[Vv]ol|[Cc]h|[Ss]ec|[Pp]p?|Jan|Feb|Mar|Apr|Jun|"
    r"Jul|Aug|Sept?|Oct|Nov|Dec|Mon|Tues?|Wed|Thurs?|Fri|Sat|Sun|est|max|min|ca|cf|al)\.$"
)
"""These may end a sentence: they do not where a small letter or a digit follows."""
CONTINUATION = re.compile(r"\s{0,9}[a-z0-9]")
LIST_NUMBER = re.compile(r"(?:^|\n)\s{0,9}[0-9]{1,3}\.$")
COMMAS = re.compile(r"(?<=[，、；：,;:—])(?![0-9])")
WORD_STARTS = re.compile(r"(?<=\s)(?=\S)")
ASCII_PHONEMES = {
    **dict.fromkeys(string.whitespace, 0),
    **dict.fromkeys(string.ascii_uppercase, 2),  # some are spelled
    **dict.fromkeys(string.digits, 5),
    **dict.fromkeys("%$&@+=/#", 8),
}
"""About how many phonemes an ASCII character is read as, where it is not one."""


def sentences(text: str) -> Iterator[str]:
    """Yield sentences with their punctuation and whitespace; together they are the text."""
    start = 0
    for match in SENTENCE_END.finditer(text):
        if match[0].startswith("."):  # a point after an abbreviation, an initial or the number of a list item
            tail = text[max(start, match.end() - 16) : match.end()]
            if ABBREVIATION.search(tail) or LIST_NUMBER.search(tail):
                continue
            if INNER_ABBREVIATION.search(tail) and CONTINUATION.match(text, match.end()):
                continue
        yield text[start : match.end()]
        start = match.end()
    yield text[start:]


def cut_long(text: str) -> list[str]:
    """Return the text, or fragments of it: cut at sentences, then at commas, then at whitespace, then anywhere."""
    fragments = [text]
    for cutter in (sentences, COMMAS.split, WORD_STARTS.split, list):
        if all(estimate_phonemes(fragment) <= MAX_PHONEMES for fragment in fragments):
            break
        fragments = [
            piece
            for fragment in fragments
            for piece in (
                [fragment] if estimate_phonemes(fragment) <= MAX_PHONEMES else pack(filter(None, cutter(fragment)))
            )
        ]
    return fragments


def pack(atoms: Iterable[str]) -> list[str]:
    """Join neighbors as long as they fit; an atom that is too long by itself stays alone."""
    packed: list[list[str]] = []
    size = 0
    for atom in atoms:
        phonemes = estimate_phonemes(atom)
        if not packed or size + phonemes > MAX_PHONEMES:
            packed.append([])
            size = 0
        packed[-1].append(atom)
        size += phonemes
    return ["".join(atoms) for atoms in packed]


def estimate_phonemes(text: str) -> int:
    """Estimate the phonemes of a text; rather too many than too few."""
    count = 0
    for character in text:
        if character.isascii():
            count += ASCII_PHONEMES.get(character, 1)
        elif "一" <= character <= "鿿":
            count += 2
        else:
            count += {"L": 3, "N": 8, "S": 10}.get(unicodedata.category(character)[0], 1)
    return count


def join_short(utterances: list[str]) -> list[str]:
    """Join a very short sentence to the next of its paragraph, the last one to the one before it."""
    joined: list[str] = []
    for utterance in utterances:
        short = estimate_phonemes(utterance) < MIN_PHONEMES or (joined and estimate_phonemes(joined[-1]) < MIN_PHONEMES)
        fits = joined and estimate_phonemes(joined[-1]) + estimate_phonemes(utterance) <= MAX_PHONEMES
        if short and fits and "\n" not in joined[-1]:
            joined[-1] += utterance
        else:
            joined.append(utterance)
    return joined
