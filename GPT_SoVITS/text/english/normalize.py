"""Write out the numbers, dates, money, units, addresses and abbreviations of an English text.

Every pattern either has a bounded length or cannot match from a position inside an earlier attempt, so the time stays
linear in the length of the text. Order matters: what reads more of a number comes before what reads less of it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache

from GPT_SoVITS.text.english.expansions import (
    ABBREVIATIONS,
    ALWAYS_TITLES,
    CHARACTERS,
    CURRENCIES,
    MONTHS,
    OPERATORS,
    SCALE_WORDS,
    SCALES,
    SHORT_MONTHS,
    SPACED_UNITS,
    SYMBOL_WORDS,
    TITLES,
    TOP_LEVEL,
)
from GPT_SoVITS.text.english.numbers import cardinal, fraction, ordinal
from GPT_SoVITS.text.english.replacements import (
    keep_apostrophe,
    plural,
    say_abbreviation,
    say_address,
    say_american_date,
    say_date,
    say_day_of_month,
    say_decade,
    say_decimal,
    say_initials,
    say_integer,
    say_list_numbers,
    say_measure,
    say_money,
    say_money_with_symbol_last,
    say_telephone,
    say_time,
    unit_names,
)

Replacement = str | Callable[[re.Match[str]], str]


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
    text = "".join(map(_fold, text))
    for pattern, replacement in _rules():
        text = pattern.sub(replacement, text)
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


@cache
def _rules() -> tuple[tuple[re.Pattern[str], Replacement], ...]:
    rules = [*_name_and_address_rules(), *_number_rules(), *_spelling_rules()]
    return tuple((re.compile(pattern, re.ASCII), replacement) for pattern, replacement in rules)


def _name_and_address_rules() -> list[tuple[str, Replacement]]:
    host = rf"((?:[A-Za-z0-9_-]{{1,63}}[.@]){{1,8}}(?:{TOP_LEVEL}))(?![\w@-])"
    abbreviations = "|".join(re.escape(name) for name in ABBREVIATIONS)
    return [
        (r"[ \t]{2,}", " "),
        (r" ?— ?", ", "),
        (rf"(?<![\w.@-])(?:https?://)?{host}((?:/[\w.~%-]{{1,99}}){{0,9}}/?(?:\?[\w.~%=&-]{{1,199}})?)", say_address),
        (r"https?://", ""),
        (rf"\b({'|'.join(TITLES)})\.(?= ?[A-Z])", lambda m: TITLES[m[1]]),
        (rf"\b({'|'.join(ALWAYS_TITLES)})\.(?!\w)", lambda m: ALWAYS_TITLES[m[1]]),
        (rf"\b({'|'.join(SHORT_MONTHS)})\.(?= ?[0-9])", lambda m: SHORT_MONTHS[m[1]]),
        (r"\b([A-Z])([A-Z]?)&([A-Z])\b", r"\1 \2 and \3"),
        (r"\b([CF])#(?![\w#])", r"\1 sharp"),
        (r"\b[Nn]o\. ?(?=[0-9])", "number "),
        (r"#(?=[0-9])", "number "),
        (rf"(?<![\w.])((?i:{abbreviations}))\.(?=( ?[A-Z]| ?$)?)", say_abbreviation),
        (r"(?<![A-Za-z.])(?:[A-Z]\.){2,}", say_initials),
    ]


def _number_rules() -> list[tuple[str, Replacement]]:
    units = "|".join(re.escape(unit) for unit in sorted(unit_names(), key=len, reverse=True))
    currencies = "".join(CURRENCIES)
    scale = rf" (?:{SCALE_WORDS})\b|(?:{'|'.join(SCALES)})(?![A-Za-z0-9])"
    clock = r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?"
    am_pm = r"(?: ?([AaPp])\.?[Mm]\b\.?)?"
    return [
        (r"(?<![0-9,])[0-9]{1,3}(?:,[0-9]{3}){1,12}(?!,?[0-9])", lambda m: m[0].replace(",", "")),
        (r"(?s).+", say_list_numbers),
        (rf"\b({'|'.join(MONTHS)}) ([1-9]|[12][0-9]|3[01])(?![\w:]|[.,][0-9])", lambda m: f"{m[1]} {ordinal(m[2])}"),
        (rf"(?<![\w.,:$-])([1-9]|[12][0-9]|3[01]) ({'|'.join(MONTHS)})\b", say_day_of_month),
        (r"(?<![0-9/.,])([0-9]{1,4}) ([1-9])/([2-9])(?![0-9/])", r"\1 and \2/\3"),
        (r"(?<![\w/])(9)/(11)(?![\w/])|(?<![\w/])(24)/(7)(?![\w/])", lambda m: m[0].replace("/", " ")),
        (r"(?<![\w/])(0?[1-9]|1[0-2])/(0?[1-9]|[12][0-9]|3[01])/([12][0-9]{3})(?![\w/])", say_american_date),
        (r"(?<![\w)-])\(([0-9]{3})\) ?([0-9]{3})[- ]([0-9]{4})(?![\w-])", r"\1-\2-\3"),
        (r"(?<![\w-])(\+[0-9]{1,3})((?: [0-9]{2,4}){2,5})(?![\w-])", lambda m: m[0].replace(" ", "-")),
        (r"(?<=[0-9]) ([+\-×÷=*/]) (?=[0-9])", lambda m: f" {OPERATORS[m[1]]} "),
        (r"(?<![\w-])([12][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(?![\w-])", say_date),
        (rf"(?<=[0-9])-(?={clock}(?![0-9:]))", " to "),
        (rf"(?<![\w:]){clock}(?![0-9:]){am_pm}(?![0-9A-Za-z])", say_time),
        (r"(?<![\w:.,$£€-])(1[0-2]|[1-9]) ?([AaPp])\.?[Mm]\b(\.?)", lambda m: f"{cardinal(m[1])} {m[2].lower()}.m."),
        (rf"(?<![\w.])(-?)([{currencies}]) ?([0-9]+)(?:\.([0-9]+))?({scale})?(?![0-9])", say_money),
        (rf"(?<![\w.])()([0-9]+)(?:\.([0-9]+))? ?([{currencies}])(?![0-9])", say_money_with_symbol_last),
        (r"(?:(?<=\s)|^)-(?=[0-9.])", "negative "),
        (r"(?<![0-9A-Za-z])'?([12][0-9]{2}|[2-9])0s\b", say_decade),
        (rf"(?<![\w.])([0-9]+(?:\.[0-9]+)?)({units})(?![A-Za-z0-9])", say_measure),
        (rf"(?<![\w.])([0-9]+(?:\.[0-9]+)?) ({'|'.join(sorted(SPACED_UNITS))})(?![\w/])", say_measure),
        (r"(?<=[A-Za-z])([0-9]{1,3})s\b", lambda m: f" {plural(cardinal(m[1]))}"),
        (r"(?<=[A-Za-z])(?=[0-9])", " "),
        (r"(?<![\w-])\+?[0-9]{1,4}(?:-[0-9]{2,4}){2,4}(?![\w-])", say_telephone),
        (r"(?<![\w-])[0-9]{3}-[0-9]{4}(?![\w-])", say_telephone),
        (r"(?<=[0-9])-(?=[0-9])", " to "),
        (r"(?<![0-9.])[0-9]+(?:\.[0-9]+){2,}(?![0-9])", lambda m: " point ".join(map(cardinal, m[0].split(".")))),
        (r"(?<![0-9])([0-9]*)\.([0-9]+)", say_decimal),
        (r"(?<![0-9/])([0-9]+) ?/ ?([0-9]+)(?![0-9/])", lambda m: fraction(m[1], m[2])),
        (r"(?<![0-9A-Za-z])([0-9]+)(?:st|nd|rd|th)\b", lambda m: ordinal(m[1])),
        (r"(?<=[0-9])(?=[A-Za-z])", " "),
        (r"[0-9]+", lambda m: say_integer(m[0])),
    ]


def _spelling_rules() -> list[tuple[str, Replacement]]:
    return [
        (rf"[{re.escape(''.join(SYMBOL_WORDS))}]", lambda m: SYMBOL_WORDS[m[0]]),
        (r"[;:]", ","),
        (r"(?<![A-Za-z])'+|'+(?![A-Za-z])", keep_apostrophe),
        (r"[^A-Za-z'.,?!\- ]", " "),
        (r" {2,}", " "),
        (r" (?=[,.!?](?: |$))", ""),
        (r"(?<=[^A-Z '])(?=[A-Z])", " "),
        (r"([!?,.\- ])[!?,.\-]+", r"\1"),
        (r" {2,}", " "),
    ]
