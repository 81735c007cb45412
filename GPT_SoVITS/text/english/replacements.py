"""The words that the rules of `normalize.py` put in place of what they match."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from GPT_SoVITS.text.data import table
from GPT_SoVITS.text.english.expansions import (
    ABBREVIATIONS,
    AREAS,
    CURRENCIES,
    CURRENCY_CODES,
    DOLLARS,
    MONTHS,
    MORE_UNITS,
    SCALES,
    SHORT_MONTHS,
    SHORT_PER,
    WEEKDAYS,
)
from GPT_SoVITS.text.english.numbers import cardinal, digits_in_words, ordinal, two_digits, year

QUANTITY_PREFIX = "\ue000"
"""Stands before a number that counts or measures, and so is no year."""


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
    """Put the unit's name, in singular or plural, behind the number, and what it is per."""
    singular, plural = unit_names()[match[2]]
    per = ""
    if divisor := match[3]:
        words = AREAS.get(divisor) or SHORT_PER.get(divisor) or unit_names().get(divisor, [divisor])[0]
        per = f" per {words}"
    return f"{QUANTITY_PREFIX}{match[1]} {singular if match[1] == '1' else plural}{per}"


def say_decimal(match: re.Match[str]) -> str:
    """Return "three point one four" for 3.14, apart from letters beside it."""
    words = f"{cardinal(match[1]) if match[1] else ''} point {digits_in_words(match[2])}".lstrip()
    before, after = match.string[max(match.start() - 1, 0) : match.start()], match.string[match.end() : match.end() + 1]
    return " " * before.isalpha() + words + " " * after.isalpha()


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
    """Write out month, day and year, as Americans order them unless only the other order is a date."""
    month, day, written = int(match[1]), int(match[2]), match[3]
    if month > 12:
        month, day = day, month
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match[0]
    year_digits = written if len(written) == 4 else f"{'19' if int(written) > 69 else '20'}{written}"
    return f"{MONTHS[month - 1]} {ordinal(str(day))}, {say_integer(year_digits)}"


def say_two_years(match: re.Match[str]) -> str:
    """Say a season, "twenty twenty-four twenty-five" for 2024/25; 2024/05 is a month."""
    first, second = int(match[1]), int(match[2])
    if second in ((first + 1) % 100, first + 1):
        joint, last = (" to ", year(second)) if second > 99 else (" ", two_digits(second))
        return f"{say_integer(match[1])}{joint}{last}"
    return f"{MONTHS[second - 1]} {say_integer(match[1])}" if 1 <= second <= 12 else match[0]


def say_days(match: re.Match[str]) -> str:
    """Say a range of days of a month."""
    return f"{match[1]} {ordinal(match[2])} to {ordinal(match[3])}"


def say_days_of_month(match: re.Match[str]) -> str:
    """Say a range of days before their month."""
    return f"the {ordinal(match[1])} to the {ordinal(match[2])} of {match[3]}"


def say_name_range(match: re.Match[str]) -> str:
    """Write out both ends of a range of months or weekdays."""
    full = {**SHORT_MONTHS, **WEEKDAYS}
    return f"{full.get(match[1], match[1])} to {full.get(match[2], match[2])}"


def say_duration(numbers: Iterable[str | None], *, is_minutes: bool) -> str:
    """Say hours and minutes, or minutes and seconds, that something takes."""
    units = ["hour", "minute", "second"][is_minutes:]
    parts = [
        f"{cardinal(digits)} {unit}{'' if int(digits) == 1 else 's'}"
        for digits, unit in zip(filter(None, numbers), units)
        if int(digits)
    ] or [f"zero {units[0]}s"]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def say_host_and_port(match: re.Match[str]) -> str:
    """Say the four numbers of an address, and its port or the length of its prefix."""
    port = f" port {match[2]}" if match[2] else f" slash {match[3]}" if match[3] else ""
    return " dot ".join(map(cardinal, match[1].split("."))) + port


def say_per(match: re.Match[str]) -> str:
    """Say the slash of a rate."""
    return f"{match[1]} per {SHORT_PER.get(match[2], match[2])}"


def say_power(match: re.Match[str]) -> str:
    """Say an exponent."""
    if match[1] in ("2", "3"):
        return " squared" if match[1] == "2" else " cubed"
    minus = "minus " if match[1].startswith("-") else ""
    return f" to the power of {minus}{match[1].lstrip('-')}"


def say_dollars(match: re.Match[str]) -> str:
    """Say an amount of dollars of a country."""
    scale = (match[4] or "").strip()
    words = money_words("$", match[2].replace(",", ""), match[3] or "", SCALES.get(scale, scale))
    return words.replace("dollar", f"{DOLLARS[match[1]]} dollar", 1)


def say_money_with_code(match: re.Match[str]) -> str:
    """Say an amount beside the code of its currency."""
    code = match[1] or match[8]
    whole, part, scale = match.group(2, 3, 4) if match[1] else match.group(5, 6, 7)
    point = f" point {digits_in_words(part)}" if part else ""
    scale = (scale or "").strip()
    name = CURRENCY_CODES[code]
    if whole == "1" and not point and not scale:
        name = name.removesuffix("s")
    return f"{cardinal(whole)}{point}{f' {SCALES.get(scale, scale)}' if scale else ''} {name}"


def say_cents(match: re.Match[str]) -> str:
    """Say an amount of cents."""
    number = match[1] or match[2]
    return f"{QUANTITY_PREFIX}{number} cent{'' if number == '1' else 's'}"


def join_digits(match: re.Match[str]) -> str:
    """Return the digits of a number with commas, marked as a quantity unless a currency symbol does that."""
    before = match.string[max(match.start() - 2, 0) : match.start()].rstrip()[-1:]
    return ("" if before in CURRENCIES else QUANTITY_PREFIX) + match[0].replace(",", "")


def say_time(match: re.Match[str]) -> str:
    """Say a time of day with a.m. or p.m."""
    hour, minute, second, half = int(match[1]), int(match[2]), match[3], match[4]
    afternoon = half.lower() == "p" if half else 12 <= hour < 24
    words = [cardinal(str((hour - 1) % 12 + 1))]
    if minute or not half:
        words.append(two_digits(minute) if minute else "o'clock")
    if second and int(second):
        words.append(f"and {cardinal(second)} second{'' if int(second) == 1 else 's'}")
    tells_half = half or minute or not 1 <= hour <= 11  # "four o'clock" may be either
    return " ".join([*words, "p.m." if afternoon else "a.m."] if tells_half else words)


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
    if scale or len(part) > 2 or (part and not cent):
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
    """Say a year of four digits, digits that begin with 0 one by one, else a cardinal, as all behind the prefix."""
    if digits[0] == QUANTITY_PREFIX:
        return cardinal(digits[1:])
    if len(digits) == 4 and 1000 < int(digits) < 3000:
        return year(int(digits))
    if len(digits) > 1 and digits[0] == "0":
        return digits_in_words(digits)
    return cardinal(digits)
