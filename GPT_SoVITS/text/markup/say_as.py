"""Digits and letters written out as SSML's `say-as` asks for it."""

from __future__ import annotations

import re
import string

from GPT_SoVITS.errors import ModelError
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
"""Value of `interpret-as` → kind."""
DATE_FORMATS = ("ymd", "mdy", "dmy")
DIGITS = {
    "zh": list(mandarin_numbers.DIGITS),
    "yue": list(mandarin_numbers.DIGITS),
    "en": english_numbers.UNITS[:10],
    "ja": "ゼロ イチ ニ サン ヨン ゴ ロク ナナ ハチ キュウ".split(),  # noqa: SIM905
    "ko": list("공일이삼사오육칠팔구"),
}
ORDINAL_PREFIXES = {"ja": "第", "ko": "제"}
MAX_DIGITS = 60


def say_as(text: str, how: SayAs, language: str) -> str:
    """Return the words for a text; `language` is the one spoken there.

    Raises ModelError `bad_markup` where the text is nothing of the kind.
    """
    written = text.strip()
    is_chinese = language in ("zh", "yue")
    if how.kind == "characters":
        characters = (character for character in written if not character.isspace())
        return " ".join(
            DIGITS[language][int(character)] if character in string.digits
            else character.upper() if character.isascii() else character
            for character in characters
        )  # fmt: skip
    if how.kind in ("digits", "telephone"):
        groups = re.findall("[0-9]+", written, re.ASCII)
        if not groups or re.search(r"[^0-9+().\s/-]", written, re.ASCII):
            raise _unfit(how, written, "digits, 138-1234")
        if is_chinese:
            word_for_1 = "幺" if how.kind == "telephone" and language == "zh" else "一"
            return "，".join(mandarin_numbers.digit_by_digit(group, word_for_1=word_for_1) for group in groups)
        separator = "" if language == "ko" else " "
        return ", ".join(separator.join(DIGITS[language][int(digit)] for digit in group) for group in groups)
    if how.kind == "date":
        return _say_date(written, how, language)
    digits = re.sub(r"[,\s]", "", written)
    if not re.fullmatch(rf"[0-9]{{1,{MAX_DIGITS}}}", digits, re.ASCII):
        raise _unfit(how, written, "digits alone, 1234")
    ordinal = how.kind == "ordinal"
    if is_chinese:
        return ("第" if ordinal else "") + mandarin_numbers.cardinal(digits)
    if language == "en":
        return english_numbers.ordinal(digits) if ordinal else english_numbers.cardinal(digits)
    return (ORDINAL_PREFIXES[language] if ordinal else "") + digits


def _say_date(written: str, how: SayAs, language: str) -> str:
    numbers = re.fullmatch(r"([0-9]{1,4})\s?[-/.]\s?([0-9]{1,2})\s?[-/.]\s?([0-9]{1,4})", written, re.ASCII)
    if numbers is None:
        raise _unfit(how, written, "three numbers, 2024-03-05")
    by_letter = dict(zip(how.date_format, numbers.groups()))
    year, month, day = by_letter["y"], int(by_letter["m"]), int(by_letter["d"])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        raise _unfit(how, written, f"a month and a day in the order {how.date_format}")
    if language == "en":
        return f"{MONTHS[month - 1]} {english_numbers.ordinal(str(day))}, {year}"
    if language == "ko":
        return f"{year}년 {month}월 {day}일"
    return f"{year}年{month}月{day}日"


def _unfit(how: SayAs, written: str, expected: str) -> ModelError:
    return bad_markup(f"{how.location}: {written[:40]!r} cannot be read as {how.kind}.", f"It takes {expected}.")
