"""Marks that lose their meaning with their typographic form: feet, inches, minutes of arc, square and micro units."""

from __future__ import annotations

import re
import unicodedata

from GPT_SoVITS.text.tracing import TracedText

PRIME, DOUBLE_PRIME = "['’′]", r"(?:[\"”″]|''|′′)"
SIZE = r"[0-9]{1,4}(?:\.[0-9]{1,4})?"
ARC = re.compile(rf"(?<=°) ?([0-9]{{1,2}}){PRIME}(?: ?({SIZE}){DOUBLE_PRIME})?")
FOOT = rf"(?:{PRIME}|(?<![0-9].)(?<=[3-7])ft(?=1?[0-9](?!\w))| ?ft\.?(?= ?[0-9]{{1,2}}(?:\.[0-9])? ?in\b))"
FEET_AND_INCHES = re.compile(
    rf"(?<![\w.'’′])([0-9]{{1,3}}){FOOT}[ -]?([0-9]{{1,2}}(?:\.[0-9])?|[0-9]{{0,2}} ?[½¼¾])"
    rf"(?:{DOUBLE_PRIME}| ?in\b(?:\.(?= ?[a-z0-9,]))?|(?![\w'’′]))"
)
FEET = re.compile(rf"(?<![\w.'’′])({SIZE})(?:′(?!′)|['’](?= (?:tall|high|long|wide|deep|by)\b))")
LENGTH = rf"({SIZE})({DOUBLE_PRIME}|{PRIME})"
DIMENSIONS = re.compile(rf"(?<![\w.'’′]){LENGTH}(?: ?(?:[x×]|by) ?{LENGTH}){{1,2}}(?![\w'’′])")
QUOTE = re.compile(r"(?:(?<![\w.])([0-9]{1,4}(?:\.[0-9]{1,4})?))?([\"″])")
AREA = re.compile(r"(?<=[0-9]) ?(mm|cm|km|dm|m|ft|in|yd|mi)(?:\^?([23])|([²³]))(?![\w])")
SQUARE = re.compile(r"(?<=[0-9]) ?sq\.? ?(mm|cm|km|m|ft|in|yd|mi)\b(?:\.(?= ?[a-z0-9]))?")
SHORT_UNIT = re.compile(r"(?<=[0-9])( ?)(ft|in|lbs?|oz|yds?|mi|hrs?|mins?|secs?)\.(?= ?[a-z0-9])")
"""A unit with the full stop of an abbreviation, in the middle of a sentence."""
PER_AREA = re.compile("(?<=/)(cm|km|m|ft|s)(?:\\^([23])|([²³]))")
EXPONENT = re.compile(r"(?:(?<=[0-9)])|(?<=\b[A-Za-z]))(?![¹²³](?![⁰¹²³⁴-⁹]))(⁻?)⁺?([⁰¹²³⁴-⁹]{1,9})")
DASH_RANGE = re.compile(r"(?<=[0-9]) – (?=[$£€]?[0-9.,]{1,40}(?! ?[0-9=]))")
MICRO = re.compile(r"(?<=[0-9]) ?[µμ](m|g|s|l|L|A|V|F|W)(?![A-Za-z])")
OHM = re.compile(r"(?<=[0-9]) ?([kM]?)[ΩΩ](?![A-Za-z])")
QUOTES_BETWEEN_DIGITS = re.compile('(?<=[0-9])["“”„«»″]+(?=[0-9])')
GROUP_APOSTROPHE = re.compile("(?<=[0-9])['’](?=[0-9]{3}(?![0-9]))")
PREFIXES = {"": "", "k": "kilo", "M": "mega"}
LENGTHS = {
    "mm": "millimeters", "cm": "centimeters", "dm": "decimeters", "m": "meters", "km": "kilometers", "ft": "feet",
    "in": "inches", "yd": "yards", "mi": "miles",
}  # fmt: skip
MICRO_UNITS = {
    "m": "meters", "g": "grams", "s": "seconds", "l": "liters", "L": "liters", "A": "amperes", "V": "volts",
    "F": "farads", "W": "watts",
}  # fmt: skip


def write_out_marks(text: TracedText) -> TracedText:
    """Write out what must be read before characters are folded to ASCII."""
    text = text.sub(ARC, lambda m: f" {_count(m[1], 'minute')}" + (f" {_count(m[2], 'second')}" if m[2] else ""))
    text = text.sub(DIMENSIONS, lambda m: " by ".join(map(_length, re.finditer(LENGTH, m[0]))))
    text = text.sub(FEET_AND_INCHES, lambda m: f"{_feet(m[1])} {_inches(m[2])}")
    text = text.sub(FEET, lambda m: f"{_feet(m[1])}")
    if '"' in text.text or "″" in text.text:
        text = _write_out_inches(text)
    text = text.sub(QUOTES_BETWEEN_DIGITS, " ").sub(GROUP_APOSTROPHE, ",")
    text = text.sub(AREA, lambda m: f" {'square' if (m[2] or m[3]) in '2²' else 'cubic'} {LENGTHS[m[1]]}")
    text = text.sub(SQUARE, lambda m: f" square {LENGTHS[m[1]]}")
    text = text.sub(SHORT_UNIT, lambda m: " inches" if m[2] == "in" else m[1] + m[2])
    text = text.sub(PER_AREA, lambda m: m[1] + ("2" if (m[2] or m[3]) in "2²" else "3"))
    text = text.sub(EXPONENT, lambda m: "^" + ("-" if m[1] else "") + unicodedata.normalize("NFKC", m[2]))
    text = text.sub(DASH_RANGE, "-")
    text = text.sub(MICRO, lambda m: f" micro{MICRO_UNITS[m[1]]}")
    return text.sub(OHM, lambda m: f" {PREFIXES[m[1]]}ohms")


def _count(number: str, unit: str) -> str:
    return f"{number} {unit}{'' if number == '1' else 's'}"


def _feet(number: str) -> str:
    return f"{number} {'foot' if number == '1' else 'feet'}"


def _length(size: re.Match[str]) -> str:
    return _feet(size[1]) if re.fullmatch(PRIME, size[2]) else _inches(size[1])


def _inches(number: str) -> str:
    return f"{number} {'inch' if number.strip() in ('1', '½', '¼', '¾') else 'inches'}"


def _write_out_inches(text: TracedText) -> TracedText:
    """Read a straight quotation mark behind a number as inches, but where it closes a quotation."""
    is_open = False

    def replacement(match: re.Match[str]) -> str:
        nonlocal is_open
        if match[1] and (match[2] == "″" or not is_open):
            noun = re.match(
                r" (?!(?:long|wide|tall|high|deep|thick|by|x|and|to|or|of|in|at)\b)[a-z]",
                match.string[match.end() : match.end() + 9],
            )
            return f"{match[1]} inch" if noun else _inches(match[1])
        if match[2] == '"':
            is_open = not is_open
        return match[0]

    return text.sub(QUOTE, replacement)
