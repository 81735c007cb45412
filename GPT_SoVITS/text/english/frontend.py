"""English: words to ARPAbet phones by dictionary, context, rules and, for what is left, a small network."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from GPT_SoVITS.text.english import normalize as english_normalise
from GPT_SoVITS.text.english.lexicon import compound, homograph, lexicon, split_by_frequency

TOKEN = re.compile(r"[A-Za-z][A-Za-z'\-]{1,60}[A-Za-z](?![A-Za-z])|[A-Za-z]{1,200}|[^\sA-Za-z]")
SPELLED_CAPITALS = frozenset("AM PM IT US AI ID OR IN ER OS IS UK EU UN TV PC CD GI IE HE AD BE PE".split())  # noqa: SIM905
"""Initialisms that are also words, or that a dictionary of words misreads; spelled unless all around is in capitals."""
LONGEST_WORD = 40
"""Letters; a longer run is no word and is spelled."""
AFTER_HISS = ("S", "Z", "SH", "ZH", "CH", "JH")
AFTER_BREATH = ("P", "T", "K", "F", "TH", "HH")

Unknown = Callable[[str, str], list[str]]
"""A word in lower case, and as it was written → phones, where no dictionary has it."""


class English:
    """American English.

    `compat="reference"` reads words that no dictionary has as the original does, which cuts them by how often words
    occur (it needs the package wordsegment) and guesses "thirty-four" as one word.
    """

    code = "en"

    def __init__(self, compat: str | None = None) -> None:
        self._unknown = _unknown_to_reference if compat == "reference" else _unknown

    def readable(self, character: str) -> bool:
        return english_normalise.readable(character)

    def unread(self, text: str) -> list[tuple[int, str]]:
        return []

    def normalise(self, text: str) -> str:
        return english_normalise.normalise(text)

    def phonemise(
        self, normalised: str, version: str, fixed: Mapping[int, Sequence[str]] | None = None
    ) -> tuple[list[str], None]:
        """No count of phones a character: English has no text feature.

        `fixed`: the phones of the words that begin at a place of `normalised`, where no dictionary is to be asked.
        """
        found = list(TOKEN.finditer(normalised))
        tokens = [match[0] for match in found]
        phones: list[str] = []
        for index, (match, token) in enumerate(zip(found, tokens)):
            if fixed and match.start() in fixed:
                phones += fixed[match.start()]
                continue
            before, after = _neighbours(tokens, index)
            phones += _said(token, before, after, self._unknown)
        return ([",", *phones] if len(phones) < 4 else phones), None


def _neighbours(tokens: list[str], index: int) -> tuple[str, str]:
    """The words on both sides, "" for a mark or an end."""
    before = tokens[index - 1] if index else ""
    after = tokens[index + 1] if index + 1 < len(tokens) else ""
    return before if before[:1].isalpha() else "", after if after[:1].isalpha() else ""


def _said(written: str, before: str, after: str, unknown: Unknown) -> list[str]:
    if not written[0].isalpha():
        return ["-" if written == "'" else written]
    if len(written) == 1:
        return ["EY1"] if written == "A" else lexicon()[written.lower()].split()
    if written.isupper() and _is_initialism(written, before, after):
        return _spell(written.lower())
    word = written.lower()
    by_context = homograph(word, before.lower(), after.lower())
    return by_context if by_context is not None else pronounce(word, written, unknown)


def _is_initialism(token: str, before: str, after: str) -> bool:
    """Capitals are spelled where they are no word; among other words in capitals they are only loud."""
    if not token.isalpha():
        return False
    if token.lower() not in lexicon():
        return len(token) <= 5 and not any(len(side) > 1 and side.isupper() for side in (before, after))
    loud = all(not side or side.isupper() for side in (before, after)) and bool(before or after)
    return token in SPELLED_CAPITALS and not loud


def pronounce(word: str, written: str = "", unknown: Unknown | None = None) -> list[str]:
    """The phones of one lower-case word of letters, apostrophes and hyphens; `written` tells its capitals."""
    known = lexicon().get(word)
    return known.split() if known is not None else (unknown or _unknown)(word, written)


def _unknown(word: str, written: str) -> list[str]:
    if word.endswith("'s") and len(word) > 2:
        return _with_s(pronounce(word[:-2], written[:-2]))
    if "-" in word:
        return [phone for part in word.split("-") if part for phone in pronounce(part)]
    if "'" in word:
        return pronounce(word.replace("'", ""))
    if written[-1:] == "s" and len(written) > 2 and written[:-1].isupper():
        return _with_s(_spell(word[:-1]))
    if len(word) <= 3 or len(word) > LONGEST_WORD:
        return _spell(word)
    if parts := compound(word):
        return [phone for part in parts for phone in lexicon()[part].split()]
    return _guess(word)


def _unknown_to_reference(word: str, written: str) -> list[str]:
    if len(word) <= 3:
        return _spell(word)
    if word.endswith("'s"):
        return _with_s(pronounce(word[:-2], unknown=_unknown_to_reference))
    parts = split_by_frequency(word)
    if len(parts) > 1:
        return [phone for part in parts for phone in pronounce(part, unknown=_unknown_to_reference)]
    return _guess(word)


def _with_s(stem: list[str]) -> list[str]:
    """The stem with its plural or possessive ending."""
    if stem and stem[-1] in AFTER_HISS:
        return [*stem, "AH0", "Z"]
    return [*stem, "S" if stem and stem[-1] in AFTER_BREATH else "Z"]


def _spell(word: str) -> list[str]:
    return [phone for letter in word for phone in (["EY1"] if letter == "a" else lexicon()[letter].split())]


def _guess(word: str) -> list[str]:
    from GPT_SoVITS.text.english.oov import predict

    return [phone for phone in predict(word) if not phone.startswith("<") and phone != "UW"] or _spell(word)
