"""Chinese words for numbers."""

from __future__ import annotations

DIGITS = "零一二三四五六七八九"
MAX_CARDINAL_DIGITS = 16
"""A longer number is read digit by digit."""


def digit_by_digit(digits: str, word_for_1: str = "一") -> str:
    """Return one word for each digit."""
    return "".join(word_for_1 if digit == "1" else DIGITS[int(digit)] for digit in digits)


def telephone(digits: str) -> str:
    """Return one word for each digit with 幺 for 1, as numbers that only name something are read."""
    return digit_by_digit(digits, word_for_1="幺")


def cardinal(digits: str) -> str:
    """Return 一万二千三百四十五 for `12345`."""
    digits = digits.lstrip("0") or "0"
    if len(digits) > MAX_CARDINAL_DIGITS:
        return digit_by_digit(digits)
    words = _words(int(digits))
    return words[1:] if words.startswith("一十") else words


def number(text: str) -> str:
    """Return a cardinal with an optional decimal part; trailing zeros of that part collapse to one."""
    whole, _, part = text.partition(".")
    words = cardinal(whole) if whole else "零"
    if not part:
        return words
    trimmed = part.rstrip("0")
    return f"{words}点{digit_by_digit(trimmed + ('0' if len(trimmed) < len(part) else ''))}"


def _words(value: int) -> str:
    """Return the words of a value under 10^16; a gap between two parts is one 零."""
    for unit, word in ((10**12, "万亿"), (10**8, "亿"), (10**4, "万"), (1000, "千"), (100, "百"), (10, "十")):
        if value >= unit:
            head, rest = divmod(value, unit)
            gap = "零" if rest and rest * 10 < unit else ""
            if unit == 10**12:  # 一万亿零… keeps its own 亿 only once
                gap = "零" if rest and rest < 10**11 else ""
                tail = _words(rest) if rest else ""
                return _words(head) + ("万" if rest >= 10**8 else "万亿") + gap + tail
            return _words(head) + word + gap + (_words(rest) if rest else "")
    return DIGITS[value]
