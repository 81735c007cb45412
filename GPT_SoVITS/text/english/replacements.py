"""The words that the rules of `normalize.py` put in place of what they match."""

from __future__ import annotations

import re
from functools import cache

from GPT_SoVITS.text.data import table
from GPT_SoVITS.text.english.expansions import ABBREVIATIONS, CURRENCIES, MONTHS, MORE_UNITS, SCALES
from GPT_SoVITS.text.english.numbers import cardinal, digits_in_words, ordinal, two_digits, year


@cache
def unit_names() -> dict[str, list[str]]:
    """Return unit → its singular and its plural."""
    return {**table("en_tables")["units"], **MORE_UNITS}


def say_address(match: re.Match[str]) -> str:
    """Say the parts of a web or mail address."""
    host = match[1].replace("www.", "W W W dot ").replace("@", " at ").replace(".", " dot ").replace("_", " ")
    path = match[2].rstrip("/.")
    for symbol, word in (("/", "slash"), (".", "dot"), ("?", "question mark"), ("=", "equals"), ("&", "and")):
        path = path.replace(symbol, f" {word} ")
    return host + path + ("." if match[2].endswith(".") else "")


def say_abbreviation(match: re.Match[str]) -> str:
    """Write out an abbreviation; its point stays where a sentence may end with it."""
    word, rest = match[1].lower(), match[2]
    ends = rest is not None and word in ("etc", "jr", "sr", "ave", "blvd", "ph.d")
    return ABBREVIATIONS[word] + ("." if ends else "")


def say_initials(match: re.Match[str]) -> str:
    """Return "U S A" for U.S.A., with its last point kept where the text ends."""
    return match[0].replace(".", " ").rstrip() + ("." if match.end() == len(match.string) else "")


def say_list_numbers(match: re.Match[str]) -> str:
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


def say_measure(match: re.Match[str]) -> str:
    """Put the unit's name, in singular or plural, behind the number."""
    singular, plural = unit_names()[match[2]]
    return f"{match[1]} {singular if match[1] == '1' else plural}"


def say_decimal(match: re.Match[str]) -> str:
    """Return "three point one four" for 3.14."""
    return f"{cardinal(match[1]) if match[1] else ''} point {digits_in_words(match[2])}".lstrip()


def keep_apostrophe(match: re.Match[str]) -> str:
    """Keep an apostrophe after an s ("the boys' toys"); elsewhere it was a quotation mark."""
    start = match.start()
    return "'" if start and match.string[start - 1] in "sS" else ""


def say_date(match: re.Match[str]) -> str:
    """Say a date of the form 2024-03-05."""
    return f"{MONTHS[int(match[2]) - 1]} {ordinal(match[3])}, {say_integer(match[1])}"


def say_day_of_month(match: re.Match[str]) -> str:
    """Return "the fifth of March" for 5 March."""
    article = "" if match.string[max(match.start() - 4, 0) : match.start()].lower() == "the " else "the "
    return f"{article}{ordinal(match[1])} of {match[2]}"


def say_american_date(match: re.Match[str]) -> str:
    """Write out month, day and year, as Americans order them."""
    return f"{MONTHS[int(match[1]) - 1]} {ordinal(match[2])}, {say_integer(match[3])}"


def say_time(match: re.Match[str]) -> str:
    """Say a time of day with a.m. or p.m."""
    hour, minute, second, half = int(match[1]), int(match[2]), match[3], match[4]
    afternoon = half.lower() == "p" if half else hour >= 12
    words = [cardinal(str((hour - 1) % 12 + 1)), two_digits(minute) if minute else "o'clock"]
    if second and int(second):
        words.append(f"and {cardinal(second)} seconds")
    return " ".join([*words, "p.m." if afternoon else "a.m."])


def say_money(match: re.Match[str]) -> str:
    """Say an amount behind its currency symbol."""
    minus = "minus " if match[1] else ""
    scale = (match[5] or "").strip()
    return minus + money_words(match[2], match[3], match[4] or "", SCALES.get(scale, scale))


def say_money_with_symbol_last(match: re.Match[str]) -> str:
    """Say an amount before its currency symbol."""
    return money_words(match[4], match[2], match[3] or "", "")


def money_words(currency: str, whole: str, part: str, scale: str) -> str:
    """Say an amount; `part`: its decimals, `scale`: million and the like."""
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


def say_telephone(match: re.Match[str]) -> str:
    """Say a telephone number digit by digit, with its groups apart."""
    plus = "plus " if match[0].startswith("+") else ""
    return plus + ", ".join(map(digits_in_words, match[0].lstrip("+").split("-")))


def say_decade(match: re.Match[str]) -> str:
    """Return "nineteen nineties" for 1990s."""
    tens = match[1] + "0"
    words = year(int(tens)) if len(tens) == 4 and int(tens) > 1000 else cardinal(tens)
    return plural(words)


def plural(words: str) -> str:
    """Return the plural of the last word."""
    if words.endswith("y"):
        return words[:-1] + "ies"
    return words + ("es" if words.endswith("x") else "s")


def say_integer(digits: str) -> str:
    """Say a year of four digits, digits that begin with 0 one by one, else a cardinal."""
    if len(digits) == 4 and 1000 < int(digits) < 3000:
        return year(int(digits))
    if len(digits) > 1 and digits[0] == "0":
        return digits_in_words(digits)
    return cardinal(digits)
