"""Figures and letters in words, as SSML's `say-as` asks for it."""

from __future__ import annotations

import re

from GPT_SoVITS.text.english import numbers as english_numbers
from GPT_SoVITS.text.english.expansions import MONTHS
from GPT_SoVITS.text.mandarin import numbers as mandarin_numbers
from GPT_SoVITS.text.markup.items import SayAs, bad_markup

KINDS = {
    **dict.fromkeys(("characters", "spell-out", "verbatim"), "characters"),
    **dict.fromkeys(("digits", "number_digit"), "digits"),
    **dict.fromkeys(("cardinal", "number"), "cardinal"),
    "ordinal": "ordinal",
    "telephone": "telephone",
    "date": "date",
}
"""Names in SSML → ours."""
FORMS = ("ymd", "mdy", "dmy")
DIGITS = {
    "zh": list(mandarin_numbers.DIGITS),
    "yue": list(mandarin_numbers.DIGITS),
    "en": english_numbers.UNITS[:10],
    "ja": "ゼロ イチ ニ サン ヨン ゴ ロク ナナ ハチ キュウ".split(),  # noqa: SIM905
    "ko": list("공일이삼사오육칠팔구"),
}
ORDINALS = {"ja": "第{}", "ko": "제{}"}
LONGEST_NUMBER = 60
"""Digits."""


def say_as(text: str, how: SayAs, language: str) -> str:
    """The words; `language` is what is spoken there. Raises ModelError `bad_markup` where the text is none of these."""
    written = text.strip()
    if how.kind == "characters":
        return " ".join(_character(one, language) for one in written if not one.isspace())
    if how.kind in ("digits", "telephone"):
        return _digits(written, how, language)
    if how.kind == "date":
        return _date(written, how, language)
    figures = re.sub(r"[,\s]", "", written)
    if not re.fullmatch(rf"[0-9]{{1,{LONGEST_NUMBER}}}", figures, re.ASCII):
        raise _unfit(how, written, "digits alone, 1234")
    return _ordinal(figures, language) if how.kind == "ordinal" else _cardinal(figures, language)


def _character(character: str, language: str) -> str:
    if character.isascii() and character.isdecimal():
        return DIGITS[language][int(character)]
    return character.upper() if character.isascii() else character


def _digits(written: str, how: SayAs, language: str) -> str:
    groups = re.findall("[0-9]+", written, re.ASCII)
    if not groups or re.search(r"[^0-9+().\s/-]", written, re.ASCII):
        raise _unfit(how, written, "digits, 138-1234")
    if language in ("zh", "yue"):
        one = "幺" if how.kind == "telephone" and language == "zh" else "一"
        return "，".join(mandarin_numbers.digit_by_digit(group, one=one) for group in groups)
    between = "" if language == "ko" else " "
    return ", ".join(between.join(DIGITS[language][int(digit)] for digit in group) for group in groups)


def _cardinal(figures: str, language: str) -> str:
    if language in ("zh", "yue"):
        return mandarin_numbers.cardinal(figures)
    return english_numbers.cardinal(figures) if language == "en" else figures


def _ordinal(figures: str, language: str) -> str:
    if language in ("zh", "yue"):
        return "第" + mandarin_numbers.cardinal(figures)
    return english_numbers.ordinal(figures) if language == "en" else ORDINALS[language].format(figures)


def _date(written: str, how: SayAs, language: str) -> str:
    parts = re.fullmatch(r"([0-9]{1,4})\s?[-/.]\s?([0-9]{1,2})\s?[-/.]\s?([0-9]{1,4})", written, re.ASCII)
    if parts is None:
        raise _unfit(how, written, "three numbers, 2024-03-05")
    by_name = dict(zip(how.form, parts.groups()))
    year, month, day = by_name["y"], int(by_name["m"]), int(by_name["d"])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        raise _unfit(how, written, f"a month and a day in the order {how.form}")
    if language == "en":
        return f"{MONTHS[month - 1]} {english_numbers.ordinal(str(day))}, {year}"
    if language == "ko":
        return f"{year}년 {month}월 {day}일"
    return f"{year}年{month}月{day}日"


def _unfit(how: SayAs, written: str, wanted: str) -> Exception:
    return bad_markup(f"{how.where}: {written[:40]!r} cannot be read as {how.kind}.", f"It takes {wanted}.")
