"""English text with its numbers, dates, money, units, addresses and abbreviations written out.

Every pattern either has a bounded length or cannot match from a position inside an earlier attempt, so the time stays
linear in the length of the text. Order matters: what reads more of a number comes before what reads less of it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache

from GPT_SoVITS.text.data import table
from GPT_SoVITS.text.english.expansions import (
    ABBREVIATIONS,
    ALWAYS_TITLES,
    CHARACTERS,
    CURRENCIES,
    MONTHS,
    MORE_UNITS,
    OPERATORS,
    SCALE_WORDS,
    SCALES,
    SHORT_MONTHS,
    SYMBOL_WORDS,
    TITLES,
    TOP_LEVEL,
    UNITS_APART,
)
from GPT_SoVITS.text.english.numbers import cardinal, digits_in_words, fraction, ordinal, two_digits, year

Replacement = str | Callable[[re.Match[str]], str]


def readable(character: str) -> bool:
    """Whether English says the character or may pass over it as a mark."""
    if character < "\x7f" or character in CHARACTERS or character in SYMBOL_WORDS:
        return True
    category = unicodedata.category(character)
    if category[0] in "PZM" or category in ("Cc", "Cf"):
        return True
    return any(piece.isascii() and piece.isalnum() for piece in _fold(character))


def normalise(text: str) -> str:
    """Words made of ASCII letters, blanks and `' . , ? ! -`."""
    text = "".join(map(_fold, text))
    for pattern, replacement in _steps():
        text = pattern.sub(replacement, text)
    return text


@lru_cache(maxsize=4096)
def _fold(character: str) -> str:
    """ASCII for one character: marks by table, accents off, foreign digits and compatibility forms turned plain."""
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
        return _greek(character)
    plain = unicodedata.normalize("NFKD", character)
    kept = "".join(
        CHARACTERS.get(piece, piece)
        for piece in plain
        if piece < "\x7f" or piece in CHARACTERS or piece in SYMBOL_WORDS
    )
    if unicodedata.category(character) == "No" and kept:
        return f" {kept} "  # one half beside a number must not melt into it
    return kept if kept else ("" if unicodedata.combining(character) else " ")


def _greek(letter: str) -> str:
    """The name of a letter of formulas: "alpha"."""
    name = unicodedata.name(letter, "").split(" WITH ")[0].split(" ")[-1].lower()
    return f" {name} " if name.isascii() and name.isalpha() else " "


@cache
def _steps() -> tuple[tuple[re.Pattern[str], Replacement], ...]:
    rules = [*_names_and_addresses(), *_figures(), *_spelling()]
    return tuple((re.compile(pattern, re.ASCII), replacement) for pattern, replacement in rules)


def _names_and_addresses() -> list[tuple[str, Replacement]]:
    host = rf"((?:[A-Za-z0-9_-]{{1,63}}[.@]){{1,8}}(?:{TOP_LEVEL}))(?![\w@-])"
    abbreviations = "|".join(re.escape(name) for name in ABBREVIATIONS)
    return [
        (r"[ \t]{2,}", " "),
        (r" ?— ?", ", "),
        (rf"(?<![\w.@-])(?:https?://)?{host}((?:/[\w.~%-]{{1,99}}){{0,9}}/?(?:\?[\w.~%=&-]{{1,199}})?)", _address),
        (r"https?://", ""),
        (rf"\b({'|'.join(TITLES)})\.(?= ?[A-Z])", lambda m: TITLES[m[1]]),
        (rf"\b({'|'.join(ALWAYS_TITLES)})\.(?!\w)", lambda m: ALWAYS_TITLES[m[1]]),
        (rf"\b({'|'.join(SHORT_MONTHS)})\.(?= ?[0-9])", lambda m: SHORT_MONTHS[m[1]]),
        (r"\b([A-Z])([A-Z]?)&([A-Z])\b", r"\1 \2 and \3"),
        (r"\b([CF])#(?![\w#])", r"\1 sharp"),
        (r"\b[Nn]o\. ?(?=[0-9])", "number "),
        (r"#(?=[0-9])", "number "),
        (rf"(?<![\w.])((?i:{abbreviations}))\.(?=( ?[A-Z]| ?$)?)", _abbreviation),
        (r"(?<![A-Za-z.])(?:[A-Z]\.){2,}", _initials),
    ]


def _figures() -> list[tuple[str, Replacement]]:
    units = "|".join(re.escape(unit) for unit in sorted(_units(), key=len, reverse=True))
    signs = "".join(CURRENCIES)
    scale = rf" (?:{SCALE_WORDS})\b|(?:{'|'.join(SCALES)})(?![A-Za-z0-9])"
    clock = r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?"
    am_pm = r"(?: ?([AaPp])\.?[Mm]\b\.?)?"
    return [
        (r"(?<![0-9,])[0-9]{1,3}(?:,[0-9]{3}){1,12}(?!,?[0-9])", lambda m: m[0].replace(",", "")),
        (r"(?s).+", _list_numbers),
        (rf"\b({'|'.join(MONTHS)}) ([1-9]|[12][0-9]|3[01])(?![\w:]|[.,][0-9])", lambda m: f"{m[1]} {ordinal(m[2])}"),
        (rf"(?<![\w.,:$-])([1-9]|[12][0-9]|3[01]) ({'|'.join(MONTHS)})\b", _day_of_month),
        (r"(?<![0-9/.,])([0-9]{1,4}) ([1-9])/([2-9])(?![0-9/])", r"\1 and \2/\3"),
        (r"(?<![\w/])(9)/(11)(?![\w/])|(?<![\w/])(24)/(7)(?![\w/])", lambda m: m[0].replace("/", " ")),
        (r"(?<![\w/])(0?[1-9]|1[0-2])/(0?[1-9]|[12][0-9]|3[01])/([12][0-9]{3})(?![\w/])", _date_with_slashes),
        (r"(?<![\w)-])\(([0-9]{3})\) ?([0-9]{3})[- ]([0-9]{4})(?![\w-])", r"\1-\2-\3"),
        (r"(?<![\w-])(\+[0-9]{1,3})((?: [0-9]{2,4}){2,5})(?![\w-])", lambda m: m[0].replace(" ", "-")),
        (r"(?<=[0-9]) ([+\-×÷=*/]) (?=[0-9])", lambda m: f" {OPERATORS[m[1]]} "),
        (r"(?<![\w-])([12][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(?![\w-])", _date),
        (rf"(?<=[0-9])-(?={clock}(?![0-9:]))", " to "),
        (rf"(?<![\w:]){clock}(?![0-9:]){am_pm}(?![0-9A-Za-z])", _time),
        (r"(?<![\w:.,$£€-])(1[0-2]|[1-9]) ?([AaPp])\.?[Mm]\b(\.?)", lambda m: f"{cardinal(m[1])} {m[2].lower()}.m."),
        (rf"(?<![\w.])(-?)([{signs}]) ?([0-9]+)(?:\.([0-9]+))?({scale})?(?![0-9])", _money_before),
        (rf"(?<![\w.])()([0-9]+)(?:\.([0-9]+))? ?([{signs}])(?![0-9])", _money_after),
        (r"(?:(?<=\s)|^)-(?=[0-9.])", "negative "),
        (r"(?<![0-9A-Za-z])'?([12][0-9]{2}|[2-9])0s\b", _decade),
        (rf"(?<![\w.])([0-9]+(?:\.[0-9]+)?)({units})(?![A-Za-z0-9])", _measure),
        (rf"(?<![\w.])([0-9]+(?:\.[0-9]+)?) ({'|'.join(sorted(UNITS_APART))})(?![\w/])", _measure),
        (r"(?<=[A-Za-z])([0-9]{1,3})s\b", lambda m: f" {_plural(cardinal(m[1]))}"),
        (r"(?<=[A-Za-z])(?=[0-9])", " "),
        (r"(?<![\w-])\+?[0-9]{1,4}(?:-[0-9]{2,4}){2,4}(?![\w-])", _telephone),
        (r"(?<![\w-])[0-9]{3}-[0-9]{4}(?![\w-])", _telephone),
        (r"(?<=[0-9])-(?=[0-9])", " to "),
        (r"(?<![0-9.])[0-9]+(?:\.[0-9]+){2,}(?![0-9])", lambda m: " point ".join(map(cardinal, m[0].split(".")))),
        (r"(?<![0-9])([0-9]*)\.([0-9]+)", _decimal),
        (r"(?<![0-9/])([0-9]+) ?/ ?([0-9]+)(?![0-9/])", lambda m: fraction(m[1], m[2])),
        (r"(?<![0-9A-Za-z])([0-9]+)(?:st|nd|rd|th)\b", lambda m: ordinal(m[1])),
        (r"(?<=[0-9])(?=[A-Za-z])", " "),
        (r"[0-9]+", _integer),
    ]


def _spelling() -> list[tuple[str, Replacement]]:
    return [
        (rf"[{re.escape(''.join(SYMBOL_WORDS))}]", lambda m: SYMBOL_WORDS[m[0]]),
        (r"[;:]", ","),
        (r"(?<![A-Za-z])'+|'+(?![A-Za-z])", _outer_apostrophe),
        (r"[^A-Za-z'.,?!\- ]", " "),
        (r" {2,}", " "),
        (r" (?=[,.!?](?: |$))", ""),
        (r"(?<=[^A-Z '])(?=[A-Z])", " "),
        (r"([!?,.\- ])[!?,.\-]+", r"\1"),
        (r" {2,}", " "),
    ]


@cache
def _units() -> dict[str, list[str]]:
    """Unit → its name for one and for more."""
    return {**table("en_tables")["units"], **MORE_UNITS}


def _address(match: re.Match[str]) -> str:
    host = match[1].replace("www.", "W W W dot ").replace("@", " at ").replace(".", " dot ").replace("_", " ")
    path = match[2].rstrip("/.")
    for sign, word in (("/", "slash"), (".", "dot"), ("?", "question mark"), ("=", "equals"), ("&", "and")):
        path = path.replace(sign, f" {word} ")
    return host + path + ("." if match[2].endswith(".") else "")


def _abbreviation(match: re.Match[str]) -> str:
    """Its point stays where a sentence may end with it."""
    word, rest = match[1].lower(), match[2]
    ends = rest is not None and word in ("etc", "jr", "sr", "ave", "blvd", "ph.d")
    return ABBREVIATIONS[word] + ("." if ends else "")


def _initials(match: re.Match[str]) -> str:
    """U.S.A. → "U S A", with its last point kept where the text ends."""
    return match[0].replace(".", " ").rstrip() + ("." if match.end() == len(match.string) else "")


def _list_numbers(match: re.Match[str]) -> str:
    """ "1. First 2. Second" → "first, First second, Second"; a number that continues no list is left alone."""
    text, expected, done, pieces = match[0], None, 0, []
    for item in re.finditer(r"(?<![\w.,$£€-])([0-9]{1,3})\. ", text):
        number = int(item[1])
        opens = expected is None and text[max(0, item.start() - 9) : item.start()].rstrip(" ")[-1:] in ("", "\n")
        if not opens and number != expected:
            continue
        pieces += [text[done : item.start()], ordinal(item[1]), ", "]
        done, expected = item.end(), number + 1
    return "".join([*pieces, text[done:]])


def _measure(match: re.Match[str]) -> str:
    singular, plural = _units()[match[2]]
    return f"{match[1]} {singular if match[1] == '1' else plural}"


def _decimal(match: re.Match[str]) -> str:
    return f"{cardinal(match[1]) if match[1] else ''} point {digits_in_words(match[2])}".lstrip()


def _outer_apostrophe(match: re.Match[str]) -> str:
    """Kept after an s ("the boys' toys"), else it was a quotation mark."""
    start = match.start()
    return "'" if start and match.string[start - 1] in "sS" else ""


def _date(match: re.Match[str]) -> str:
    return f"{MONTHS[int(match[2]) - 1]} {ordinal(match[3])}, {_integer(match[1])}"


def _day_of_month(match: re.Match[str]) -> str:
    """5 March → "the fifth of March"."""
    article = "" if match.string[max(match.start() - 4, 0) : match.start()].lower() == "the " else "the "
    return f"{article}{ordinal(match[1])} of {match[2]}"


def _date_with_slashes(match: re.Match[str]) -> str:
    """Month, day and year, as Americans write them."""
    return f"{MONTHS[int(match[1]) - 1]} {ordinal(match[2])}, {_integer(match[3])}"


def _time(match: re.Match[str]) -> str:
    hour, minute, second, half = int(match[1]), int(match[2]), match[3], match[4]
    afternoon = half.lower() == "p" if half else hour >= 12
    words = [cardinal(str((hour - 1) % 12 + 1)), two_digits(minute) if minute else "o'clock"]
    if second and int(second):
        words.append(f"and {cardinal(second)} seconds")
    return " ".join([*words, "p.m." if afternoon else "a.m."])


def _money_before(match: re.Match[str]) -> str:
    minus = "minus " if match[1] else ""
    scale = (match[5] or "").strip()
    return minus + _money(match[2], match[3], match[4] or "", SCALES.get(scale, scale))


def _money_after(match: re.Match[str]) -> str:
    return _money(match[4], match[2], match[3] or "", "")


def _money(sign: str, whole: str, part: str, scale: str) -> str:
    one, many, small_one, small_many = CURRENCIES[sign]
    if scale or len(part) > 2:
        point = f" point {digits_in_words(part)}" if part else ""
        return f"{cardinal(whole)}{point}{f' {scale}' if scale else ''} {many}"
    cents = int(part.ljust(2, "0")) if part else 0
    words = f"{cardinal(whole)} {one if whole.lstrip('0') == '1' else many}"
    small = f"{cardinal(str(cents))} {small_one if cents == 1 else small_many}"
    if not cents:
        return words
    return f"{words} and {small}" if whole.strip("0") else small


def _telephone(match: re.Match[str]) -> str:
    plus = "plus " if match[0].startswith("+") else ""
    return plus + ", ".join(map(digits_in_words, match[0].lstrip("+").split("-")))


def _decade(match: re.Match[str]) -> str:
    tens = match[1] + "0"
    words = year(int(tens)) if len(tens) == 4 and int(tens) > 1000 else cardinal(tens)
    return _plural(words)


def _plural(words: str) -> str:
    if words.endswith("y"):
        return words[:-1] + "ies"
    return words + ("es" if words.endswith("x") else "s")


def _integer(match: re.Match[str] | str) -> str:
    digits = match if isinstance(match, str) else match[0]
    if len(digits) == 4 and 1000 < int(digits) < 3000:
        return year(int(digits))
    if len(digits) > 1 and digits[0] == "0":
        return digits_in_words(digits)
    return cardinal(digits)
