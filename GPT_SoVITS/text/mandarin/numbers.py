"""Chinese words for numbers."""

from __future__ import annotations

DIGITS = "零一二三四五六七八九"
LONGEST_CARDINAL = 16
"""Digits; a longer number is read digit by digit."""


def digit_by_digit(digits: str, one: str = "一") -> str:
    return "".join(one if digit == "1" else DIGITS[int(digit)] for digit in digits)


def telephone(digits: str) -> str:
    """Digit by digit with 幺 for 1, as numbers that only name something are read."""
    return digit_by_digit(digits, one="幺")


def cardinal(digits: str) -> str:
    """`12345` → 一万二千三百四十五."""
    digits = digits.lstrip("0") or "0"
    if len(digits) > LONGEST_CARDINAL:
        return digit_by_digit(digits)
    words = _below(int(digits))
    return words[1:] if words.startswith("一十") else words


def number(text: str) -> str:
    """A cardinal with an optional decimal part; trailing zeros of that part collapse to one."""
    whole, _, part = text.partition(".")
    words = cardinal(whole) if whole else "零"
    if not part:
        return words
    trimmed = part.rstrip("0")
    return f"{words}点{digit_by_digit(trimmed + ('0' if len(trimmed) < len(part) else ''))}"


def _below(value: int) -> str:
    """Any value under 10^16; a gap between two parts is one 零."""
    for unit, word in ((10**12, "万亿"), (10**8, "亿"), (10**4, "万"), (1000, "千"), (100, "百"), (10, "十")):
        if value >= unit:
            head, rest = divmod(value, unit)
            gap = "零" if rest and rest * 10 < unit else ""
            if unit == 10**12:  # 一万亿零… keeps its own 亿 only once
                gap = "零" if rest and rest < 10**11 else ""
                tail = _below(rest) if rest else ""
                return _below(head) + ("万" if rest >= 10**8 else "万亿") + gap + tail
            return _below(head) + word + gap + (_below(rest) if rest else "")
    return DIGITS[value]
