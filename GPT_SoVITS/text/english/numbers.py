"""English words for numbers."""

from __future__ import annotations

UNITS = (  # noqa: SIM905
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
TENS = ["_", "_", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SCALES = (  # noqa: SIM905
    "hundred thousand million billion trillion quadrillion quintillion sextillion septillion octillion nonillion "
    "decillion"
).split()
MAX_DIGITS = 3 * len(SCALES)
IRREGULAR_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}


def digits_in_words(digits: str) -> str:
    """Return one word for each digit."""
    return " ".join(UNITS[int(digit)] for digit in digits)


def cardinal(digits: str) -> str:
    """Return "one thousand, two hundred thirty-four" for `1234`; say numbers without a name digit by digit."""
    digits = digits.lstrip("0") or "0"
    if len(digits) > MAX_DIGITS:
        return digits_in_words(digits)
    value = int(digits)
    if value < 1000:
        return _below_thousand(value)
    groups = []
    scale = 0
    while value:
        value, group = divmod(value, 1000)
        if group:
            groups.append(_below_thousand(group) + (f" {SCALES[scale]}" if scale else ""))
        scale += 1
    return ", ".join(reversed(groups))


def _below_thousand(value: int) -> str:
    hundreds, rest = divmod(value, 100)
    words = [f"{UNITS[hundreds]} hundred"] if hundreds else []
    if rest or not hundreds:
        words.append(_below_hundred(rest))
    return " ".join(words)


def _below_hundred(value: int) -> str:
    if value < 20:
        return UNITS[value]
    tens, units = divmod(value, 10)
    return TENS[tens] + (f"-{UNITS[units]}" if units else "")


def ordinal(digits: str) -> str:
    """Return "twenty-first" for `21`."""
    words = cardinal(digits)
    head, separator, last = words.rpartition("-" if "-" in words.rsplit(" ", 1)[-1] else " ")
    regular = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return head + separator + IRREGULAR_ORDINALS.get(last, regular)


def year(value: int) -> str:
    """Return the words of a year of 1001–2999: "nineteen ninety-nine", "two thousand five", "nineteen oh five"."""
    centuries, rest = divmod(value, 100)
    if 2000 <= value < 2010:
        return f"two thousand {UNITS[rest]}" if rest else "two thousand"
    if rest == 0:
        return f"{_below_hundred(centuries)} hundred"
    return f"{_below_hundred(centuries)} {two_digits(rest)}"


def two_digits(value: int) -> str:
    """Return the second half of a year or of a time: "oh five" for 5, "thirty" for 30."""
    return f"oh {UNITS[value]}" if value < 10 else _below_hundred(value)


def fraction(numerator: str, denominator: str) -> str:
    """Return "three fourths" for `3/4`; say "over" where there is no fraction word."""
    over, under = numerator.lstrip("0") or "0", denominator.lstrip("0") or "0"
    if under in ("0", "1") or len(under) > 6:
        return f"{cardinal(over)} over {cardinal(under)}"
    if under == "2":
        return f"{cardinal(over)} {'half' if over == '1' else 'halves'}"
    return f"{cardinal(over)} {ordinal(under)}{'' if over == '1' else 's'}"
