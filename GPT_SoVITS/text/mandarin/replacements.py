"""The words that the rules of `normalize.py` put in place of what they match."""

from __future__ import annotations

import re

from GPT_SoVITS.text.data import table
from GPT_SoVITS.text.mandarin.numbers import cardinal, digit_by_digit, number, telephone

N = r"[0-9]+(?:\.[0-9]+)?"
CURRENCIES = {"￥": "元", "$": "美元", "€": "欧元", "£": "英镑"}


def minus(sign: str) -> str:
    """Return 负 for a minus sign."""
    return "负" if sign else ""


def below_zero(sign: str) -> str:
    """Return 零下, for temperatures, for a minus sign."""
    return "零下" if sign else ""


def say_money(currency: str, sign: str, amount: str, scale: str | None) -> str:
    """Say an amount with its currency behind it."""
    return f"{minus(sign)}{number(amount)}{scale or ''}{CURRENCIES[currency]}"


def say_power(match: re.Match[str]) -> str:
    """Say a superscript."""
    digits = table("zh_tables")["superscripts"]
    return f"的{''.join(digits[superscript] for superscript in match[0])}次方"


def say_fraction(match: re.Match[str]) -> str:
    """Return 四分之三 for 3/4."""
    return f"{minus(match[1])}{cardinal(match[3])}分之{cardinal(match[2])}"


def say_counted(match: re.Match[str]) -> str:
    """Write out a number before its measure word: exactly 2 is 两."""
    words = "两" if match[0] == "2" else cardinal(match[1])
    return words + (match[2] or "").replace("+", "多")


def say_date(match: re.Match[str]) -> str:
    """Say a date that is written with 年, 月 and 日."""
    words = digit_by_digit(match[1]) + "年"
    if match[2]:
        words += cardinal(match[2]) + "月"
    return words + (cardinal(match[3]) + match[4] if match[3] else "")


def say_numeric_date(match: re.Match[str]) -> str:
    """Say a date of the form 2024-03-05."""
    return f"{digit_by_digit(match[1])}年{cardinal(match[3])}月{cardinal(match[4])}日"


def say_times(match: re.Match[str]) -> str:
    """Say a time of day, or a range of two."""
    first = say_time(match[1], match[2], match[3])
    if not match[4]:
        return first
    if match[2] == "30" != match[5]:  # upstream misreads these: said as people do
        return f"{first}到{say_time(match[4], match[5], match[6]).removesuffix('分')}"
    return f"{first}至{say_time(match[4], match[5], match[6], half=match[2] == '30')}"


def say_time(hour: str, minute: str, second: str | None, half: bool = True) -> str:
    """Write out a time; `half`: whether 30 minutes are 半, at the end of a range only where its start said it."""
    words = cardinal(hour) + "点"
    if int(minute):
        words += "半" if half and minute == "30" and not int(second or 0) else say_two_digits(minute) + "分"
    if second and int(second):
        words += say_two_digits(second) + "秒"
    return words


def say_two_digits(digits: str) -> str:
    """Say the minutes or seconds of a time."""
    return ("零" if digits[0] == "0" else "") + cardinal(digits)


def say_expression(match: re.Match[str]) -> str:
    """Say a sum and the like."""
    words = table("zh_tables")["math_words"]
    pieces = re.split(r"([+×÷=-])", match[0])
    return "".join(words.get(piece) or (number(piece) if re.fullmatch(N, piece) else piece) for piece in pieces)


def say_mobile(match: re.Match[str]) -> str:
    """Say a mobile number digit by digit, the country's code apart."""
    digits = match[0].lstrip("+").replace("-", "")
    if len(digits) == 11:
        return telephone(digits)
    return "，".join(filter(None, (telephone(digits[:2]), telephone(digits[-11:]))))


def say_range(match: re.Match[str]) -> str:
    """Say a range of two numbers."""
    last = "两" if match[4] == "2" and match.lastindex == 5 else number(match[4])
    return f"{minus(match[1])}{number(match[2])}到{minus(match[3])}{last}"
