"""Write out the numbers, dates, money, units, addresses and abbreviations of an English text.

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
    SPACED_UNITS,
    SYMBOL_WORDS,
    TITLES,
    TOP_LEVEL,
)
from GPT_SoVITS.text.english.numbers import cardinal, digits_in_words, fraction, ordinal, two_digits, year

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
        (rf"(?<![\w.@-])(?:https?://)?{host}((?:/[\w.~%-]{{1,99}}){{0,9}}/?(?:\?[\w.~%=&-]{{1,199}})?)", _say_address),
        (r"https?://", ""),
        (rf"\b({'|'.join(TITLES)})\.(?= ?[A-Z])", lambda m: TITLES[m[1]]),
        (rf"\b({'|'.join(ALWAYS_TITLES)})\.(?!\w)", lambda m: ALWAYS_TITLES[m[1]]),
        (rf"\b({'|'.join(SHORT_MONTHS)})\.(?= ?[0-9])", lambda m: SHORT_MONTHS[m[1]]),
        (r"\b([A-Z])([A-Z]?)&([A-Z])\b", r"\1 \2 and \3"),
        (r"\b([CF])#(?![\w#])", r"\1 sharp"),
        (r"\b[Nn]o\. ?(?=[0-9])", "number "),
        (r"#(?=[0-9])", "number "),
        (rf"(?<![\w.])((?i:{abbreviations}))\.(?=( ?[A-Z]| ?$)?)", _say_abbreviation),
        (r"(?<![A-Za-z.])(?:[A-Z]\.){2,}", _say_initials),
    ]


def _number_rules() -> list[tuple[str, Replacement]]:
    units = "|".join(re.escape(unit) for unit in sorted(_units(), key=len, reverse=True))
    currencies = "".join(CURRENCIES)
    scale = rf" (?:{SCALE_WORDS})\b|(?:{'|'.join(SCALES)})(?![A-Za-z0-9])"
    clock = r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?"
    am_pm = r"(?: ?([AaPp])\.?[Mm]\b\.?)?"
    return [
        (r"(?<![0-9,])[0-9]{1,3}(?:,[0-9]{3}){1,12}(?!,?[0-9])", lambda m: m[0].replace(",", "")),
        (r"(?s).+", _say_list_numbers),
        (rf"\b({'|'.join(MONTHS)}) ([1-9]|[12][0-9]|3[01])(?![\w:]|[.,][0-9])", lambda m: f"{m[1]} {ordinal(m[2])}"),
        (rf"(?<![\w.,:$-])([1-9]|[12][0-9]|3[01]) ({'|'.join(MONTHS)})\b", _say_day_of_month),
        (r"(?<![0-9/.,])([0-9]{1,4}) ([1-9])/([2-9])(?![0-9/])", r"\1 and \2/\3"),
        (r"(?<![\w/])(9)/(11)(?![\w/])|(?<![\w/])(24)/(7)(?![\w/])", lambda m: m[0].replace("/", " ")),
        (r"(?<![\w/])(0?[1-9]|1[0-2])/(0?[1-9]|[12][0-9]|3[01])/([12][0-9]{3})(?![\w/])", _say_american_date),
        (r"(?<![\w)-])\(([0-9]{3})\) ?([0-9]{3})[- ]([0-9]{4})(?![\w-])", r"\1-\2-\3"),
        (r"(?<![\w-])(\+[0-9]{1,3})((?: [0-9]{2,4}){2,5})(?![\w-])", lambda m: m[0].replace(" ", "-")),
        (r"(?<=[0-9]) ([+\-×÷=*/]) (?=[0-9])", lambda m: f" {OPERATORS[m[1]]} "),
        (r"(?<![\w-])([12][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])(?![\w-])", _say_date),
        (rf"(?<=[0-9])-(?={clock}(?![0-9:]))", " to "),
        (rf"(?<![\w:]){clock}(?![0-9:]){am_pm}(?![0-9A-Za-z])", _say_time),
        (r"(?<![\w:.,$£€-])(1[0-2]|[1-9]) ?([AaPp])\.?[Mm]\b(\.?)", lambda m: f"{cardinal(m[1])} {m[2].lower()}.m."),
        (rf"(?<![\w.])(-?)([{currencies}]) ?([0-9]+)(?:\.([0-9]+))?({scale})?(?![0-9])", _say_money),
        (rf"(?<![\w.])()([0-9]+)(?:\.([0-9]+))? ?([{currencies}])(?![0-9])", _say_money_with_symbol_last),
        (r"(?:(?<=\s)|^)-(?=[0-9.])", "negative "),
        (r"(?<![0-9A-Za-z])'?([12][0-9]{2}|[2-9])0s\b", _say_decade),
        (rf"(?<![\w.])([0-9]+(?:\.[0-9]+)?)({units})(?![A-Za-z0-9])", _say_measure),
        (rf"(?<![\w.])([0-9]+(?:\.[0-9]+)?) ({'|'.join(sorted(SPACED_UNITS))})(?![\w/])", _say_measure),
        (r"(?<=[A-Za-z])([0-9]{1,3})s\b", lambda m: f" {_plural(cardinal(m[1]))}"),
        (r"(?<=[A-Za-z])(?=[0-9])", " "),
        (r"(?<![\w-])\+?[0-9]{1,4}(?:-[0-9]{2,4}){2,4}(?![\w-])", _say_telephone),
        (r"(?<![\w-])[0-9]{3}-[0-9]{4}(?![\w-])", _say_telephone),
        (r"(?<=[0-9])-(?=[0-9])", " to "),
        (r"(?<![0-9.])[0-9]+(?:\.[0-9]+){2,}(?![0-9])", lambda m: " point ".join(map(cardinal, m[0].split(".")))),
        (r"(?<![0-9])([0-9]*)\.([0-9]+)", _say_decimal),
        (r"(?<![0-9/])([0-9]+) ?/ ?([0-9]+)(?![0-9/])", lambda m: fraction(m[1], m[2])),
        (r"(?<![0-9A-Za-z])([0-9]+)(?:st|nd|rd|th)\b", lambda m: ordinal(m[1])),
        (r"(?<=[0-9])(?=[A-Za-z])", " "),
        (r"[0-9]+", lambda m: _say_integer(m[0])),
    ]


def _spelling_rules() -> list[tuple[str, Replacement]]:
    return [
        (rf"[{re.escape(''.join(SYMBOL_WORDS))}]", lambda m: SYMBOL_WORDS[m[0]]),
        (r"[;:]", ","),
        (r"(?<![A-Za-z])'+|'+(?![A-Za-z])", _keep_apostrophe),
        (r"[^A-Za-z'.,?!\- ]", " "),
        (r" {2,}", " "),
        (r" (?=[,.!?](?: |$))", ""),
        (r"(?<=[^A-Z '])(?=[A-Z])", " "),
        (r"([!?,.\- ])[!?,.\-]+", r"\1"),
        (r" {2,}", " "),
    ]


@cache
def _units() -> dict[str, list[str]]:
    """Return unit → its singular and its plural."""
    return {**table("en_tables")["units"], **MORE_UNITS}


def _say_address(match: re.Match[str]) -> str:
    host = match[1].replace("www.", "W W W dot ").replace("@", " at ").replace(".", " dot ").replace("_", " ")
    path = match[2].rstrip("/.")
    for symbol, word in (("/", "slash"), (".", "dot"), ("?", "question mark"), ("=", "equals"), ("&", "and")):
        path = path.replace(symbol, f" {word} ")
    return host + path + ("." if match[2].endswith(".") else "")


def _say_abbreviation(match: re.Match[str]) -> str:
    """Write out an abbreviation; its point stays where a sentence may end with it."""
    word, rest = match[1].lower(), match[2]
    ends = rest is not None and word in ("etc", "jr", "sr", "ave", "blvd", "ph.d")
    return ABBREVIATIONS[word] + ("." if ends else "")


def _say_initials(match: re.Match[str]) -> str:
    """Return "U S A" for U.S.A., with its last point kept where the text ends."""
    return match[0].replace(".", " ").rstrip() + ("." if match.end() == len(match.string) else "")


def _say_list_numbers(match: re.Match[str]) -> str:
    """Return "first, First second, Second" for "1. First 2. Second"; leave a number that continues no list."""
    text, expected, end, pieces = match[0], None, 0, []
    for item in re.finditer(r"(?<![\w.,$£€-])([0-9]{1,3})\. ", text):
        number = int(item[1])
        opens = expected is None and text[max(0, item.start() - 9) : item.start()].rstrip(" ")[-1:] in ("", "\n")
        if not opens and number != expected:
            continue
        pieces += [text[end : item.start()], ordinal(item[1]), ", "]
        end, expected = item.end(), number + 1
    return "".join([*pieces, text[end:]])


def _say_measure(match: re.Match[str]) -> str:
    singular, plural = _units()[match[2]]
    return f"{match[1]} {singular if match[1] == '1' else plural}"


def _say_decimal(match: re.Match[str]) -> str:
    return f"{cardinal(match[1]) if match[1] else ''} point {digits_in_words(match[2])}".lstrip()


def _keep_apostrophe(match: re.Match[str]) -> str:
    """Keep an apostrophe after an s ("the boys' toys"); elsewhere it was a quotation mark."""
    start = match.start()
    return "'" if start and match.string[start - 1] in "sS" else ""


def _say_date(match: re.Match[str]) -> str:
    return f"{MONTHS[int(match[2]) - 1]} {ordinal(match[3])}, {_say_integer(match[1])}"


def _say_day_of_month(match: re.Match[str]) -> str:
    """Return "the fifth of March" for 5 March."""
    article = "" if match.string[max(match.start() - 4, 0) : match.start()].lower() == "the " else "the "
    return f"{article}{ordinal(match[1])} of {match[2]}"


def _say_american_date(match: re.Match[str]) -> str:
    """Write out month, day and year, as Americans order them."""
    return f"{MONTHS[int(match[1]) - 1]} {ordinal(match[2])}, {_say_integer(match[3])}"


def _say_time(match: re.Match[str]) -> str:
    hour, minute, second, half = int(match[1]), int(match[2]), match[3], match[4]
    afternoon = half.lower() == "p" if half else hour >= 12
    words = [cardinal(str((hour - 1) % 12 + 1)), two_digits(minute) if minute else "o'clock"]
    if second and int(second):
        words.append(f"and {cardinal(second)} seconds")
    return " ".join([*words, "p.m." if afternoon else "a.m."])


def _say_money(match: re.Match[str]) -> str:
    minus = "minus " if match[1] else ""
    scale = (match[5] or "").strip()
    return minus + _money_words(match[2], match[3], match[4] or "", SCALES.get(scale, scale))


def _say_money_with_symbol_last(match: re.Match[str]) -> str:
    return _money_words(match[4], match[2], match[3] or "", "")


def _money_words(currency: str, whole: str, part: str, scale: str) -> str:
    singular, plural, cent, cents_word = CURRENCIES[currency]
    if scale or len(part) > 2:
        point = f" point {digits_in_words(part)}" if part else ""
        return f"{cardinal(whole)}{point}{f' {scale}' if scale else ''} {plural}"
    cents = int(part.ljust(2, "0")) if part else 0
    words = f"{cardinal(whole)} {singular if whole.lstrip('0') == '1' else plural}"
    small = f"{cardinal(str(cents))} {cent if cents == 1 else cents_word}"
    if not cents:
        return words
    return f"{words} and {small}" if whole.strip("0") else small


def _say_telephone(match: re.Match[str]) -> str:
    plus = "plus " if match[0].startswith("+") else ""
    return plus + ", ".join(map(digits_in_words, match[0].lstrip("+").split("-")))


def _say_decade(match: re.Match[str]) -> str:
    tens = match[1] + "0"
    words = year(int(tens)) if len(tens) == 4 and int(tens) > 1000 else cardinal(tens)
    return _plural(words)


def _plural(words: str) -> str:
    if words.endswith("y"):
        return words[:-1] + "ies"
    return words + ("es" if words.endswith("x") else "s")


def _say_integer(digits: str) -> str:
    if len(digits) == 4 and 1000 < int(digits) < 3000:
        return year(int(digits))
    if len(digits) > 1 and digits[0] == "0":
        return digits_in_words(digits)
    return cardinal(digits)
