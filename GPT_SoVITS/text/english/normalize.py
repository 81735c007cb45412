"""Write out the numbers, dates, money, units, addresses and abbreviations of an English text."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from GPT_SoVITS.text.english.expansions import CHARACTERS, SYMBOL_WORDS
from GPT_SoVITS.text.english.marks import write_out_marks
from GPT_SoVITS.text.english.rules import rules
from GPT_SoVITS.text.tracing import TracedText


def is_readable(character: str) -> bool:
    """Return whether English says the character, or may pass over it as punctuation."""
    if character < "\x7f" or character in CHARACTERS or character in SYMBOL_WORDS:
        return True
    category = unicodedata.category(character)
    if category[0] in "PZM" or category in ("Cc", "Cf"):
        return True
    return any(folded.isascii() and folded.isalnum() for folded in _fold(character))


def normalize(text: str) -> str:
    """Return the text in words of ASCII letters, spaces and `' . , ? ! -`."""
    return rewrite(TracedText(text)).text


def rewrite(text: TracedText) -> TracedText:
    """Normalize a text and keep track of its characters."""
    text = write_out_marks(text).map(_fold)
    for pattern, replacement in rules():
        text = text.sub(pattern, replacement)
    return text


@lru_cache(maxsize=4096)
def _fold(character: str) -> str:
    """Return ASCII for a character: diacritics off, foreign digits and compatibility forms plain."""
    if character < "\x7f" and character not in CHARACTERS:
        return character
    if character in CHARACTERS:
        return CHARACTERS[character]
    if character in SYMBOL_WORDS:
        return character
    if character.isspace():
        return " "
    if (value := unicodedata.decimal(character, None)) is not None:
        return str(value)
    if "\u0391" <= character <= "\u03c9":
        name = unicodedata.name(character, "").split(" WITH ")[0].split(" ")[-1].lower()
        return f" {name} " if name.isascii() and name.isalpha() else " "  # the name of a letter of formulas: "alpha"
    kept = "".join(
        CHARACTERS.get(part, part)
        for part in unicodedata.normalize("NFKD", character)
        if part < "\x7f" or part in CHARACTERS or part in SYMBOL_WORDS
    )
    if unicodedata.category(character) == "No" and kept:
        return f" {kept} "  # one half beside a number must not melt into it
    return kept if kept else ("" if unicodedata.combining(character) else " ")
