"""Chinese text with its numbers, dates, money, units and signs written out in ideographs.

The order of the rules is part of the behaviour. Every pattern is bounded or cannot overlap itself, so that the time
stays linear in the length of the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache

from GPT_SoVITS.text.data import table
from GPT_SoVITS.text.mandarin.numbers import cardinal, digit_by_digit, number, telephone
from GPT_SoVITS.text.mandarin.pinyin import UNREAD

N = r"[0-9]+(?:\.[0-9]+)?"
SCALES = "百万|千万|万|亿"
COUNTED = "元|块|美元|欧元|英镑|日元|吨|公斤|千克|公里|千米|平方|个|万|亿"
"""What seven or eight digits before are no telephone number."""
Replacement = str | Callable[[re.Match[str]], str]
CHARACTERS = {
    "〇": "零", "％": "%",
    "﹪": "%", "－": "-", "−": "-", "–": "-", "‐": "-", "‑": "-", "＋": "+", "＝": "=", "／": "/",
    "℃": "°C", "㎡": "平方米", "㎥": "立方米", "㎏": "kg",
    "㎜": "mm", "㎝": "cm", "㎞": "km", "¥": "￥", "﹣": "-", "⁄": "/", 
    "＄": "$", "±": "正负", "≥": "大于等于", "≤": "小于等于", "≈": "约等于", "≠": "不等于",
    "∶": ":", "⁺": "+",
}  # fmt: skip
HALVES = {"½": "二分之一", "⅓": "三分之一", "⅔": "三分之二", "¼": "四分之一", "¾": "四分之三", "⅛": "八分之一"}
CURRENCIES = {"￥": "元", "$": "美元", "€": "欧元", "£": "英镑"}
MORE_UNITS = {
    "g": "克", "mg": "毫克", "KG": "千克", "KM": "千米", "L": "升", "ms": "毫秒", "min": "分钟", "h": "小时",
    "km/h": "千米每小时", "m/s": "米每秒", "dB": "分贝", "kW": "千瓦", "V": "伏",
    "Hz": "赫兹", "kHz": "千赫", "MHz": "兆赫", "GHz": "吉赫",
}  # fmt: skip
DELETED = re.compile(r"[ —《》【】<>{}()（）#&@“”^_|\\]")
SENTENCE_END = re.compile(r"([：、，；。？！,;?!]”?’?)")
NOT_SPOKEN = re.compile(r"[^一-龥!?…,.\-]")
WITH_COMMAS = re.compile(r"(?<![0-9,])[0-9]{1,3}(?:,[0-9]{3}){1,6}(?!,?[0-9])")
QUANTITY = "\ue000"
"""Stands before a number that was written with commas: it is counted, not read digit by digit."""
MARK_RUN = re.compile(r"([!?…,.\-])[!?…,.\-]+")


def readable(character: str) -> bool:
    """Whether Mandarin says the character or may pass over it as a mark; Latin letters for the sake of units."""
    if "一" <= character <= "龥":
        return character not in UNREAD
    if character.isascii() or character in _spoken_signs():
        return True
    category = unicodedata.category(character)
    if category[0] in "PZM" or category in ("Cc", "Cf"):
        return True
    return category == "Nd" or "Ａ" <= character <= "Ｚ" or "ａ" <= character <= "ｚ"


@cache
def _spoken_signs() -> frozenset[str]:
    tables = table("zh_tables")
    return frozenset(
        [
            *CHARACTERS,
            *HALVES,
            *CURRENCIES,
            *tables["symbol_words_last_pass"],
            *tables["superscripts"],
            *table("zh_simplified")["traditional"],
            "°",
        ]
    )


def normalise(text: str) -> str:
    """Ideographs U+4E00–9FA5 and the six marks only."""
    return _only_spoken(written_out(text))


def written_out(text: str) -> str:
    """Numbers, dates, units and signs in ideographs, simplified; other letters and marks are still there."""
    text = "".join(map(_plain, text))
    text = WITH_COMMAS.sub(_quantity, text)
    text = re.sub("(?<=[0-9])(?:—|——)(?=[0-9])", "-", text)
    text = DELETED.sub("", text)
    sentences = SENTENCE_END.sub(r"\1\n", text).split("\n")
    return "".join(_sentence(sentence.strip()) for sentence in sentences if sentence.strip())


def _quantity(match: re.Match[str]) -> str:
    """Marked as such but where a sign of money or a range says it already."""
    before = match.string[max(match.start() - 2, 0) : match.start()]
    said = before[-1:] in CURRENCIES or re.fullmatch("[0-9][~-]", before)
    return ("" if said else QUANTITY) + match[0].replace(",", "")


def _only_spoken(text: str) -> str:
    text = text.replace("嗯", "恩").replace("呣", "母")
    text = _punctuation().sub(lambda m: table("zh_tables")["punctuation_map_zh"][m[0]], text)
    return MARK_RUN.sub(r"\1", NOT_SPOKEN.sub("", text))


@cache
def _punctuation() -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, table("zh_tables")["punctuation_map_zh"])))


@lru_cache(maxsize=8192)
def _plain(character: str) -> str:
    """Simplified, half-width and with the digits of any script turned to 0–9."""
    if character in CHARACTERS:
        return CHARACTERS[character]
    if character in HALVES:
        return HALVES[character]
    if (value := unicodedata.decimal(character, None)) is not None:
        return str(value)
    if "Ａ" <= character <= "Ｚ" or "ａ" <= character <= "ｚ":
        return chr(ord(character) - 0xFEE0)
    return _simplified().get(character, character)


@cache
def _simplified() -> dict[str, str]:
    pairs = table("zh_simplified")
    return dict(zip(pairs["traditional"], pairs["simplified"]))


def _sentence(text: str) -> str:
    for pattern, replacement in _steps():
        text = pattern.sub(replacement, text)
    return text


@cache
def _steps() -> tuple[tuple[re.Pattern[str], Replacement], ...]:
    rules = [*_dates_and_times(), *_quantities(), *_telephones(), *_what_is_left()]
    return tuple((re.compile(pattern), replacement) for pattern, replacement in rules)


def _dates_and_times() -> list[tuple[str, Replacement]]:
    time = r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?"
    return [
        (r"[0-9]{25,}", lambda m: telephone(m[0])),  # no number is that long; it also bounds what follows
        (
            r"(?<![0-9])([12][0-9]{3})[-~]([12][0-9]{3})(?=年)",
            lambda m: f"{digit_by_digit(m[1])}到{digit_by_digit(m[2])}",
        ),
        (r"(?<![0-9])([0-9]{4}|[0-9]{2})年(?:(0?[1-9]|1[0-2])月(?:([12][0-9]|3[01]|0?[1-9])([日号]))?)?", _date),
        (r"(?<![0-9])([0-9]{4})([-/.])(1[0-2]|0?[1-9])\2(3[01]|[12][0-9]|0?[1-9])(?![0-9])", _date_in_figures),
        (rf"(?<![0-9:]){time}(?:[~-]{time})?(?![0-9])", _times),
    ]


def _quantities() -> list[tuple[str, Replacement]]:
    words, signs = unit_words(), "".join(CURRENCIES)
    units = "|".join(re.escape(unit) for unit in sorted(words, key=len, reverse=True))
    superscripts = "".join(table("zh_tables")["superscripts"])
    operand = rf"(?:{N}|\.[0-9]+|(?<![A-Za-z])[A-Za-z](?![A-Za-z]))[{superscripts}]{{0,9}}"
    operator = r"(?:[+×÷=]|(?<=[0-9])-(?=[0-9]{1,24}[+=]))"
    return [
        (rf"(?<![0-9.])({N})({units})[~～-]({N})(?=(?:{units})(?![A-Za-z]))", r"\1\2至\3"),
        (r"(?<=[0-9])～(?=[-0-9])", "~"),
        (rf"(?<![0-9.])(-?)({N})~(?=-?{N}(?:°C|度))", lambda m: f"{_below_zero(m[1])}{number(m[2])}到"),
        (r"(?<![0-9:])([0-9]{1,4}):([0-9]{1,4})(?![0-9:])", lambda m: f"{cardinal(m[1])}比{cardinal(m[2])}"),
        (rf"(-?)(?<![0-9.])({N})(摄氏)?(?:°C|度)", lambda m: f"{_below_zero(m[1])}{number(m[2])}{m[3] or ''}度"),
        (rf"([{signs}])(-?)({N})({SCALES})?", lambda m: _money(m[1], m[2], m[3], m[4])),
        (rf"(?<![0-9.])({N})({SCALES})?([{signs}])", lambda m: _money(m[3], "", m[1], m[2])),
        (rf"(?<=[0-9])({units})(?![A-Za-z])", lambda m: words[m[1]]),
        (rf"{operand}(?:{operator}{operand}){{1,50}}", _expression),
        (rf"[{superscripts}]{{1,9}}", _power),
        (r"(-?)(?<![0-9/])([0-9]+)/([0-9]+)(?![0-9/])", _fraction),
        (rf"(?<![0-9.\-])({N})%?-({N})%(?![0-9-])", lambda m: f"百分之{number(m[1])}到百分之{number(m[2])}"),
        (rf"(-?)(?<![0-9.])({N})%", lambda m: f"{_minus(m[1])}百分之{number(m[2])}"),
    ]


def _telephones() -> list[tuple[str, Replacement]]:
    area = r"(0(?:10|2[0-9]|[3-9][0-9]{2}))"
    return [
        (r"(?<![0-9-])(?:\+?86-?)?1[3-9][0-9]-[0-9]{4}-[0-9]{4}(?![0-9-])", _mobile),
        (r"(?<![0-9])(?:\+?86 ?-?)?1(?:[38][0-9]|5[0-35-9]|7[678]|9[89])[0-9]{8}(?![0-9])", _mobile),
        (rf"(?<![0-9]){area}-([1-9][0-9]{{6,7}})(?![0-9])", lambda m: f"{telephone(m[1])}，{telephone(m[2])}"),
        (rf"(?<![0-9.{QUANTITY}]){area}?[1-9][0-9]{{6,7}}(?![0-9.]|{COUNTED})", lambda m: telephone(m[0])),
        (r"(?<![0-9])400-?[0-9]{3,4}-?[0-9]{3,4}(?![0-9])", lambda m: telephone(m[0].replace("-", ""))),
    ]


def _what_is_left() -> list[tuple[str, Replacement]]:
    measures = "|".join(sorted(table("zh_tables")["measure_words"], key=len, reverse=True))
    signs = table("zh_tables")["symbol_words_last_pass"]
    short = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
    return [
        (rf"(?<![0-9.+\-*/])(-?)({N})~(-?)({N})(?![0-9+*/])", _range),
        (rf"(?<![0-9.+\-*/])(){short}-(){short}(?=({measures}|人|度)?)(?![0-9.+\-*/])", _range),
        (rf"(?<![0-9])-(?={QUANTITY}?[0-9])", "负"),
        (r"(?<![0-9.])[0-9]+(?:\.[0-9]+){2,}", lambda m: "点".join(map(digit_by_digit, m[0].split(".")))),
        (r"(?<![0-9])([0-9]*\.[0-9]+)(?![0-9])", lambda m: number(m[1])),
        (rf"(?:{QUANTITY}|(?<=负))([0-9]+)", lambda m: cardinal(m[1])),
        (r"(?<=第)([0-9]{1,9})(?![0-9])", lambda m: cardinal(m[1])),
        (rf"(?<![0-9])([0-9]+)([多余几+])?(?={measures})", _counted),
        (r"[0-9]{3,}", lambda m: telephone(m[0])),
        (r"[0-9]+", lambda m: cardinal(m[0])),
        (r"(?<=[一-龥])-(?=[一-龥])", "到"),
        (rf"[{re.escape(''.join(signs))}]", lambda m: signs[m[0]] if m[0] != "-" else ""),
        (r"[-——《》【】<=>{}()（）#&@“”^_|\\]", ""),
    ]


@cache
def unit_words() -> dict[str, str]:
    """Unit → its name."""
    return {**dict(table("zh_tables")["units_in_order"]), **MORE_UNITS}


def _minus(sign: str) -> str:
    return "负" if sign else ""


def _below_zero(sign: str) -> str:
    return "零下" if sign else ""


def _money(currency: str, sign: str, amount: str, scale: str | None) -> str:
    return f"{_minus(sign)}{number(amount)}{scale or ''}{CURRENCIES[currency]}"


def _power(match: re.Match[str]) -> str:
    figures = table("zh_tables")["superscripts"]
    return f"的{''.join(figures[sign] for sign in match[0])}次方"


def _fraction(match: re.Match[str]) -> str:
    return f"{_minus(match[1])}{cardinal(match[3])}分之{cardinal(match[2])}"


def _counted(match: re.Match[str]) -> str:
    """A number before its measure word: exactly 2 is 两."""
    figure = "两" if match[0] == "2" else cardinal(match[1])
    return figure + (match[2] or "").replace("+", "多")


def _date(match: re.Match[str]) -> str:
    words = digit_by_digit(match[1]) + "年"
    if match[2]:
        words += cardinal(match[2]) + "月"
    return words + (cardinal(match[3]) + match[4] if match[3] else "")


def _date_in_figures(match: re.Match[str]) -> str:
    return f"{digit_by_digit(match[1])}年{cardinal(match[3])}月{cardinal(match[4])}日"


def _times(match: re.Match[str]) -> str:
    first = _time(match[1], match[2], match[3])
    if not match[4]:
        return first
    if match[2] == "30" != match[5]:  # the reference misreads these: said as people do
        return f"{first}到{_time(match[4], match[5], match[6]).removesuffix('分')}"
    return f"{first}至{_time(match[4], match[5], match[6], half=match[2] == '30')}"


def _time(hour: str, minute: str, second: str | None, half: bool = True) -> str:
    """`half`: whether 30 minutes are 半; the end of a range says 三十分 unless its start said 半."""
    words = cardinal(hour) + "点"
    if int(minute):
        words += "半" if half and minute == "30" and not int(second or 0) else _padded(minute) + "分"
    if second and int(second):
        words += _padded(second) + "秒"
    return words


def _padded(two: str) -> str:
    return ("零" if two[0] == "0" else "") + cardinal(two)


def _expression(match: re.Match[str]) -> str:
    words = table("zh_tables")["math_words"]
    pieces = re.split(r"([+×÷=-])", match[0])
    return "".join(words.get(piece) or (number(piece) if re.fullmatch(N, piece) else piece) for piece in pieces)


def _mobile(match: re.Match[str]) -> str:
    digits = match[0].lstrip("+").replace("-", "")
    if len(digits) == 11:
        return telephone(digits)
    return "，".join(filter(None, (telephone(digits[:2]), telephone(digits[-11:]))))


def _range(match: re.Match[str]) -> str:
    last = "两" if match[4] == "2" and match.lastindex == 5 else number(match[4])
    return f"{_minus(match[1])}{number(match[2])}到{_minus(match[3])}{last}"
