"""Korean: g2pk2's rules of pronunciation over MeCab's parts of speech, one phone a jamo (text-frontend §7.3)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache

from GPT_SoVITS.text.data import table
from GPT_SoVITS.text.symbols import MARKS, symbols

BLANK, UNKNOWN_SIGN = "空", "停"
DIGITS = "영일이삼사오육칠팔구"
LONGEST_CALL = 200
"""Characters that the rules see at once; they are slow on more, and words so far apart have nothing to do."""
SENTENCE = re.compile(r"[^.?!。！？\n]*[.?!。！？\n]+ ?|[^.?!。！？\n]+")
WORD = re.compile(r" *[^ ]+ *")
PHONES_OF_MARKS = {
    **dict.fromkeys("：；，·、", ","),
    **dict.fromkeys("。\n．", "."),
    "！": "!",
    "？": "?",
    " ": BLANK,
    **{mark: mark for mark in MARKS},
}
LIQUID_AFTER = re.compile(r"(?<=[ㅇㄹ]ㅡㄹ )ㄹ")
JAMO = re.compile(r"[ㄱ-ㅎㅏ-ㅣ]")
HANGUL = "가-힣ㄱ-ㅎㅏ-ㅣᄀ-하-ᅵᆨ-ᇂ"
READABLE = re.compile(f"[{HANGUL}Ａ-Ｚａ-ｚ₩￦€£¥￥％℃°]")
NUMBER = r"([0-9]{1,16}(?:,[0-9]{3}){0,5})(?:\.([0-9]{1,16}))?"
CURRENCIES = {"₩": "원", "￦": "원", "$": "달러", "€": "유로", "£": "파운드", "¥": "엔", "￥": "엔"}
UNITS = {
    "km": "킬로미터", "cm": "센티미터", "mm": "밀리미터", "m": "미터", "kg": "킬로그램", "mg": "밀리그램", "g": "그램",
    "ml": "밀리리터", "mL": "밀리리터", "L": "리터", "℃": "도", "°C": "도", "%": "%", "％": "%",
}  # fmt: skip
_MONEY = re.compile(rf"([{''.join(CURRENCIES)}]) ?{NUMBER}(?![0-9])")
_MEASURE = re.compile(rf"(?<![0-9.,]){NUMBER} ?({'|'.join(sorted(UNITS, key=len, reverse=True))})(?![A-Za-z0-9])")
_WITH_POINT = re.compile(r"(?<![0-9.,])([0-9]{1,16}(?:,[0-9]{3}){0,5})\.([0-9]{1,16})(?![0-9.,]{0,9}[0-9])")
_WITH_COMMAS = re.compile(rf"(?<![0-9.,])([0-9]{{1,3}}(?:,[0-9]{{3}}){{1,5}})(?![0-9]|,[0-9]|[{HANGUL}])")


_DATE = re.compile(r"(?<![0-9])([0-9]{4})([-/.])0?(1[0-2]|[1-9])\2(?:0?([1-9])|([12][0-9]|3[01]))(?![0-9])")
_TIME = re.compile(r"(?<![0-9:])0?([0-9]|1[0-9]|2[0-4]):([0-5][0-9])(?![0-9:])")
_RANGE = re.compile(r"(?<=[0-9])[~〜～](?=[0-9])")
UNNAMED = re.compile("[\ud800-\udfff\u1113-\u1160\u1176-\u11a7\u11c3-\u11ff\ua960-\ua97f\ud7b0-\ud7ff]")
"""Halves of characters and jamo of old Korean, which no rule knows and the libraries refuse."""


class Korean:
    """Standard Korean; `compat="reference"` leaves all numbers and signs to g2pk2."""

    code = "ko"

    def __init__(self, compat: str | None = None) -> None:
        self._as_reference = compat == "reference"

    def readable(self, character: str) -> bool:
        if character.isascii() or READABLE.match(character):
            return True
        category = unicodedata.category(character)
        return category[0] in "PZM" or category in ("Cc", "Cf", "Nd")

    def unread(self, text: str) -> list[tuple[int, str]]:
        return []

    def normalise(self, text: str) -> str:
        """Dates, times, money, measures and decimals in words; other numbers are left to the rules, which can count."""
        if self._as_reference:
            return text
        text = "".join(map(_plain, text))
        text = _DATE.sub(r"\1년 \3월 \4\5일", text)
        text = _TIME.sub(lambda m: f"{m[1]}시" + (f" {int(m[2])}분" if int(m[2]) else ""), text)
        text = _RANGE.sub("에서 ", text)
        text = _MONEY.sub(lambda m: _number(m[2], m[3]) + CURRENCIES[m[1]], text)
        text = _MEASURE.sub(lambda m: _number(m[1], m[2]) + UNITS[m[3]], text)
        text = _WITH_POINT.sub(lambda m: _number(m[1], m[2]), text)
        return _WITH_COMMAS.sub(lambda m: _cardinal(m[1].replace(",", "")), text)

    def phonemise(self, normalised: str, version: str) -> tuple[list[str], None]:
        """A text that ends in a jamo is given a full stop."""
        from GPT_SoVITS.text.korean.rules import pronounce

        text = UNNAMED.sub("□", unicodedata.normalize("NFC", normalised))
        jamo = "".join(pronounce(part) for part in _short_enough(_letters_named(text)))
        jamo = "".join(table("ko_compound_vowels").get(one, one) for one in jamo)
        jamo = LIQUID_AFTER.sub("ㄴ", jamo)
        if jamo and JAMO.match(jamo[-1]):
            jamo += "."
        known = _phones()
        return [known.get(character, UNKNOWN_SIGN) for character in jamo], None


@cache
def _phones() -> dict[str, str]:
    jamo = [symbol for symbol in symbols("v2") if len(symbol) == 1 and JAMO.match(symbol)]
    return {**PHONES_OF_MARKS, **{one: one for one in jamo}}


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    """0–9 for the digits of other scripts, half-width letters, a blank for any white space but a newline."""
    if (value := unicodedata.decimal(character, None)) is not None:
        return str(value)
    if "Ａ" <= character <= "Ｚ" or "ａ" <= character <= "ｚ":
        return chr(ord(character) - 0xFEE0)
    return " " if character.isspace() and character != "\n" else character


def _letters_named(text: str) -> str:
    names = table("ko_letter_names")
    return "".join(names.get(character.lower(), character) if character.isascii() else character for character in text)


def _short_enough(text: str) -> Iterator[str]:
    """The text in parts of at most 200 characters: whole sentences, else whole words, else what fits."""
    if len(text) <= LONGEST_CALL:
        yield text
        return
    waiting = ""
    for atom in _atoms(text):
        if waiting and len(waiting) + len(atom) > LONGEST_CALL:
            yield waiting
            waiting = ""
        waiting += atom
    yield waiting


def _atoms(text: str) -> Iterator[str]:
    for sentence in SENTENCE.findall(text):
        for word in [sentence] if len(sentence) <= LONGEST_CALL else WORD.findall(sentence):
            for start in range(0, len(word), LONGEST_CALL):
                yield word[start : start + LONGEST_CALL]


def _number(whole: str, part: str | None) -> str:
    """1,234.5 → 천이백삼십사점오; an integer stays as it is."""
    if not part:
        return whole
    return f"{_cardinal(whole.replace(',', ''))}점{''.join(DIGITS[int(digit)] for digit in part)}"


def _cardinal(digits: str) -> str:
    """Up to sixteen digits; a longer number, or one that begins with 0, digit by digit."""
    if len(digits) > 16 or (digits[0] == "0" and len(digits) > 1):
        return "".join(DIGITS[int(digit)] for digit in digits)
    groups = []
    for power, large in zip(range(12, -1, -4), ("조", "억", "만", "")):
        group = int(digits) // 10**power % 10**4
        if group:
            words = _below_ten_thousand(group)
            groups.append("만" if (words, large) == ("일", "만") else words + large)
    return "".join(groups) or "영"


def _below_ten_thousand(value: int) -> str:
    words = ""
    for unit, name in ((1000, "천"), (100, "백"), (10, "십"), (1, "")):
        digit = value // unit % 10
        if digit:
            words += ("" if digit == 1 and name else DIGITS[digit]) + name
    return words
