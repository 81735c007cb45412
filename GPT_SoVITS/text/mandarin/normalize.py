"""Write out the numbers, dates, money, units and symbols of a Chinese text in ideographs.

docs/spec/text-frontend.md §6.1 has upstream's rules. Their order is part of the behavior. Every pattern is bounded or
cannot overlap itself, so that the time stays linear in the length of the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache

from GPT_SoVITS.text.data import table
from GPT_SoVITS.text.mandarin.numbers import cardinal, digit_by_digit, number, telephone
from GPT_SoVITS.text.mandarin.pinyin import WITHOUT_PRONUNCIATION
from GPT_SoVITS.text.mandarin.replacements import (
    CURRENCIES,
    MORE_MEASURE_WORDS,
    VERBS,
    N,
    below_zero,
    minus,
    say_amount,
    say_counted,
    say_date,
    say_duration,
    say_expression,
    say_foreign_date,
    say_fraction,
    say_mobile,
    say_money,
    say_numeric_date,
    say_power,
    say_range,
    say_times,
    say_years,
)
from GPT_SoVITS.text.tracing import TracedText
from GPT_SoVITS.text.units import mandarin_units

SCALES = "百万|千万|万|亿"
COUNTED_UNITS = "元|块|美元|欧元|英镑|日元|吨|公斤|千克|公里|千米|平方|个|万|亿"
"""Seven or eight digits before one of these are no telephone number."""

Replacement = str | Callable[[re.Match[str]], str]
CHARACTERS = {
    "〇": "零", "％": "%",
    "﹪": "%", "－": "-", "−": "-", "–": "-", "‐": "-", "‑": "-", "＋": "+", "＝": "=", "／": "/",
    "℃": "°C", "㎡": "平方米", "㎥": "立方米", "㎏": "kg",
    "㎜": "mm", "㎝": "cm", "㎞": "km", "¥": "￥", "﹣": "-", "⁄": "/", 
    "＄": "$", "±": "正负", "≥": "大于等于", "≤": "小于等于", "≈": "约等于", "≠": "不等于",
    "∶": ":", "⁺": "+", "〜": "～", "∼": "～", "˜": "～", "＜": "<", "＞": ">", "＊": "*", "＾": "^", "＃": "#",
    "＆": "&",
    "｜": "|", "＿": "_", "＼": "\\", "≦": "小于等于", "≧": "大于等于", "￡": "£", "’": "'", "＇": "'", "．": ".",
    "→": "到", "∞": "无穷大", "√": "根号", "№": "第",
}  # fmt: skip
HALVES = {"½": "二分之一", "⅓": "三分之一", "⅔": "三分之二", "¼": "四分之一", "¾": "四分之三", "⅛": "八分之一"}
ENCLOSED_NUMBER = re.compile(r"(?<=[0-9])(?=[①-⑳])|(?<=[①-⑳])(?=[0-9])")
WIDE_DASH = re.compile(r"(?<=[0-9])\s?(?:—|——)\s?(?=[0-9])")
BETWEEN_NUMBERS = re.compile(r"(?<=[0-9])[ 　—《》【】{}()（）\[\]「」『』〈〉〔〕@“”\"'‘’^_|\\&#<>;·•]+(?=[0-9])")
WIDE_COLON = re.compile("(?<=[0-9])：(?=[0-9])")
HOST_AND_PORT = re.compile(r"(?<![0-9.])((?:[0-9]{1,3}\.){3}[0-9]{1,3}):([0-9]{1,5})(?![0-9:.])")
MOBILE_WITH_SPACES = re.compile(r"(?<![0-9])(1[3-9][0-9]) ([0-9]{4}) ([0-9]{4})(?![0-9])")
LATIN_BETWEEN_NUMBERS = re.compile(
    r"(?<=[零一二三四五六七八九十百千万亿幺两])([^一-龥!?…,.]+)(?=[零一二三四五六七八九十百千万亿幺两])"
)
SYMBOLS = (
    (re.compile(r"(?<=[0-9])°([0-9]{1,2})[′'’]([0-9]{1,2}(?:\.[0-9]{1,4})?)[″\"”]"), r"度\1分\2秒"),
    (re.compile(r"(?<=[0-9])°([0-9]{1,2})[′'’]"), r"度\1分"),
    (re.compile(r"(?<=[0-9])°(?![CF])"), "度"),
    (re.compile(r"(?<=[0-9%])\s{0,9}(?:<=|=<)\s{0,9}(?=[-0-9])|<=(?=\s{0,9}[-0-9])"), "小于等于"),
    (re.compile(r"(?<=[0-9%])\s{0,9}(?:>=|=>)\s{0,9}(?=[-0-9])|>=(?=\s{0,9}[-0-9])"), "大于等于"),
    (re.compile(r"\s{0,9}!=\s{0,9}(?=[-0-9])"), "不等于"),
    (re.compile(r"(?<=[0-9%])\s{0,9}<\s{0,9}(?=[-0-9])|<(?=\s{0,9}[-0-9])"), "小于"),
    (re.compile(r"(?<=[0-9%])\s{0,9}>\s{0,9}(?=[-0-9])|>(?=\s{0,9}[-0-9])"), "大于"),
    (re.compile(r"(?<=[0-9])\s{0,9}(?:\*\*|\^)\s{0,9}(-?[0-9]{1,9})(?![0-9.])"), r"的\1次方"),
    (re.compile(r"(?<=[0-9])\s{0,9}\*\s{0,9}(?=[0-9])"), "×"),
    (re.compile(r"(?<=[0-9])\s{0,9}&\s{0,9}(?=[0-9])"), "和"),
    (re.compile(r"(?<=[0-9])\s{0,9}#"), "号"),
    (re.compile(r"#(?=[0-9])"), "第"),
    (re.compile(r"(?<=[0-9%])\s{0,9}[xX]\s{0,9}(?=[0-9])"), "乘"),
)
"""What a symbol beside a number is read as."""
DROPPED = re.compile(r"[ —《》【】<>{}()（）#&@“”^_|\\]")
SENTENCE_END = re.compile(r"([：、，；。？！,;?!]”?’?)")
NOT_SPOKEN = re.compile(r"[^一-龥!?…,.\-]")
WITH_COMMAS = re.compile(r"(?<![0-9,，])[0-9]{1,3}(?:,[0-9]{3}){1,6}(?!,?[0-9])")
WITH_WIDE_COMMAS = r"(?<![0-9,，])[0-9]{1,3}(?:[,，'][0-9]{3}){1,6}(?![,，]?[0-9])"
QUANTITY_PREFIX = "\ue000"
"""Stands before a number that was written with commas: it is counted, not read digit by digit."""
PUNCTUATION_RUN = re.compile(r"([!?…,.\-])[!?…,.\-]+")


def is_readable(character: str) -> bool:
    """Return whether Mandarin says the character, or may pass over it; Latin letters for the sake of units."""
    if "一" <= character <= "龥":
        return character not in WITHOUT_PRONUNCIATION
    if character.isascii() or character in _spoken_symbols():
        return True
    category = unicodedata.category(character)
    if category[0] in "PZM" or category in ("Cc", "Cf"):
        return True
    return category == "Nd" or "Ａ" <= character <= "Ｚ" or "ａ" <= character <= "ｚ"


@cache
def _spoken_symbols() -> frozenset[str]:
    tables = table("zh_tables")
    return frozenset(
        [
            *CHARACTERS,
            *HALVES,
            *CURRENCIES,
            *tables["symbol_words_last_pass"],
            *tables["superscripts"],
            *table("zh_simplified")["traditional"],
            *"°‰μµΩ",
        ]
    )


def normalize(text: str) -> str:
    """Return ideographs of U+4E00–9FA5 and the six punctuation characters only."""
    return rewrite(TracedText(text)).text


def rewrite(text: TracedText) -> TracedText:
    """Normalize a text and keep track of its characters."""
    text = write_out(text).sub("嗯", "恩").sub("呣", "母")
    text = text.sub(_punctuation_pattern(), lambda m: table("zh_tables")["punctuation_map_zh"][m[0]])
    text = text.sub(LATIN_BETWEEN_NUMBERS, ",")
    return text.sub(NOT_SPOKEN, "").sub(PUNCTUATION_RUN, r"\1")


@cache
def _punctuation_pattern() -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, table("zh_tables")["punctuation_map_zh"])))


def write_out(text: TracedText) -> TracedText:
    """Write out numbers, dates, units and symbols in simplified ideographs; leave letters and punctuation."""
    text = text.map(_plain_character)
    text = text.sub(WIDE_COLON, ":")
    text = text.sub(HOST_AND_PORT, _say_host_and_port)
    text = text.sub(WITH_COMMAS, _prefix_quantity)
    text = text.sub(_wide_comma_pattern(), _prefix_quantity)
    text = text.sub(ENCLOSED_NUMBER, "，")
    text = text.sub(WIDE_DASH, "-")
    text = text.sub(_range_pattern(), r"\1到")
    text = text.sub(MOBILE_WITH_SPACES, r"\1-\2-\3")
    for pattern, words in SYMBOLS:
        text = text.sub(pattern, words)
    text = text.sub(BETWEEN_NUMBERS, "，").sub(DROPPED, "")
    sentences = text.sub(SENTENCE_END, r"\1\n").split("\n")
    return TracedText.join(_apply_rules(sentence.strip()) for sentence in sentences if sentence.text.strip())


def _say_host_and_port(match: re.Match[str]) -> str:
    """Say the numbers of an address, and its port."""
    return "点".join(map(digit_by_digit, match[1].split("."))) + "端口" + digit_by_digit(match[2])


def _prefix_quantity(match: re.Match[str]) -> str:
    """Put the prefix before a quantity, but where a currency symbol or a range tells it already."""
    before = match.string[max(match.start() - 2, 0) : match.start()]
    is_clear = before[-1:] in CURRENCIES or re.fullmatch("[0-9][~-]", before)
    return ("" if is_clear else QUANTITY_PREFIX) + re.sub("[,，']", "", match[0])


@cache
def _wide_comma_pattern() -> re.Pattern[str]:
    """Return the pattern of numbers with full-width commas, which a unit or a currency tells from a list."""
    units = "|".join(map(re.escape, sorted({*_measure_words(), *mandarin_units()}, key=len, reverse=True)))
    currencies = "".join(CURRENCIES)
    return re.compile(
        rf"(?<=[{currencies}]){WITH_WIDE_COMMAS}|{WITH_WIDE_COMMAS}(?=[多余几]?(?:{units}|[{currencies}%])|\.[0-9])"
        "|(?<![0-9,，])[0-9]{1,3}(?:，[0-9]{3}){0,5}，000(?![,，]?[0-9])"
    )


@cache
def _measure_words() -> tuple[str, ...]:
    """Return what stands behind a number that counts, the longest first."""
    words = {*table("zh_tables")["measure_words"], *MORE_MEASURE_WORDS, *mandarin_units().values()}
    return tuple(sorted(words, key=lambda word: (-len(word), word)))


@cache
def _range_pattern() -> re.Pattern[str]:
    """Return the pattern of what a range begins with, and of its dash: 9点—17点, 第3章～第5章, 周一～周五."""
    return re.compile(
        rf"((?<=[0-9])(?:{'|'.join(_measure_words())})(?=[~～—]|-(?![0-9.]{{1,9}}(?:°C|度)))|(?<=[0-9])[年月日时](?=[~～—])"
        "|[周期拜][一二三四五六日天](?=[~～—]))[~～—-](?=第?[0-9]|周|星期|礼拜|[上下]午|早上|中午|晚上)"
    )


@lru_cache(maxsize=8192)
def _plain_character(character: str) -> str:
    """Return the character simplified and half-width, 0–9 for the digits of any script."""
    if character in CHARACTERS:
        return CHARACTERS[character]
    if character == QUANTITY_PREFIX:
        return " "
    if character in HALVES:
        return HALVES[character]
    if (value := unicodedata.decimal(character, None)) is not None:
        return str(value)
    if "Ａ" <= character <= "Ｚ" or "ａ" <= character <= "ｚ":
        return chr(ord(character) - 0xFEE0)
    return _simplified_characters().get(character, character)


@cache
def _simplified_characters() -> dict[str, str]:
    pairs = table("zh_simplified")
    return dict(zip(pairs["traditional"], pairs["simplified"]))


def _apply_rules(text: TracedText) -> TracedText:
    for pattern, replacement in _rules():
        text = text.sub(pattern, replacement)
    return text


@cache
def _rules() -> tuple[tuple[re.Pattern[str], Replacement], ...]:
    rules = [*_date_and_time_rules(), *_quantity_rules(), *_telephone_rules(), *_remaining_rules()]
    return tuple((re.compile(pattern), replacement) for pattern, replacement in rules)


def _date_and_time_rules() -> list[tuple[str, Replacement]]:
    time = r"([01]?[0-9]|2[0-3]|24(?=:00)):([0-5][0-9])(?::([0-5][0-9]))?"
    return [
        (r"[0-9]{25,}", lambda m: telephone(m[0])),  # no number is that long; it also bounds what follows
        (
            r"(?<![0-9])([12][0-9]{3})[-~～]([12][0-9]{3})(?=学?年|财年|赛季)",
            lambda m: f"{digit_by_digit(m[1])}到{digit_by_digit(m[2])}",
        ),
        (r"(?<![0-9.])([0-9]{4}|[0-9]{2})年(?!级|代|[0-9])(的?[一-龥]{0,2})(?![月])", say_years),
        (r"(?<![0-9])([0-9]{2})(?=年代)", lambda m: cardinal(m[1])),
        (r"(?<![0-9])([0-9]{4}|[0-9]{2})年(?:(0?[1-9]|1[0-2])月(?:([12][0-9]|3[01]|0?[1-9])([日号]))?)?", say_date),
        (r"(?<![0-9])([0-9]{4})([-/.])(1[0-2]|0?[1-9])\2(3[01]|[12][0-9]|0?[1-9])(?![0-9])", say_numeric_date),
        (r"(?<![0-9/])([0-9]{1,2})/([0-9]{1,2})/([12][0-9]{3})(?![0-9/])", say_foreign_date),
        (r"(?<=[0-9][点时])0(?=[1-9](?![0-9]))", "零"),
        (r"(?<![0-9:])([0-9]{1,3}):([0-5][0-9])(?::([0-5][0-9]))?(小时|分钟)", say_duration),
        (rf"(?<![0-9:]){time}(?:[~～-]{time})?(?![0-9])(?:[分秒](?![钟数]))?", say_times),
    ]


def _quantity_rules() -> list[tuple[str, Replacement]]:
    words, currencies = mandarin_units(), "".join(CURRENCIES)
    units = "|".join(re.escape(unit) for unit in sorted(words, key=len, reverse=True))
    superscripts = "".join(table("zh_tables")["superscripts"])
    operand = rf"(?:{N}|\.[0-9]+|(?<![A-Za-z])[A-Za-z](?![A-Za-z]))[{superscripts}]{{0,9}}"
    operator = r"(?:[+×÷=]|(?<=[0-9])-(?=[0-9]{1,24}[+=])|(?<=[0-9])/(?=[0-9.]{1,24}=))"
    return [
        (rf"(?<![0-9.])({N})({units})[~～-]({N})(?=(?:{units})(?![A-Za-z]))", r"\1\2至\3"),
        (rf"(?<=[0-9])～(?=[-0-9{QUANTITY_PREFIX}{currencies}])", "~"),
        (rf"([{currencies}])({N})[~～-]\1?(?={N})", lambda m: f"{number(m[2])}到{m[1]}"),
        (rf"(?<=[0-9])([{currencies}%‰])[~～](?=[0-9])", r"\1到"),
        (
            rf"(?<![0-9.])(-?)({N})(°C|度)?[~～-](?=-?{N}(?:°C|度))",
            lambda m: f"{below_zero(m[1])}{number(m[2])}{'度' if m[3] else ''}到",
        ),
        (r"(?<![0-9./])([0-9]{2,3})/([0-9]{2,3})(?=mmHg|毫米汞柱)", lambda m: f"{cardinal(m[1])}比{m[2]}"),
        (r"(?<![0-9:.])([0-9]{1,4}):([0-9]{1,4})(?![0-9:])", lambda m: f"{cardinal(m[1])}比{cardinal(m[2])}"),
        (rf"(-?)(?<![0-9.])({N})(摄氏)?(?:°C|度)", lambda m: f"{below_zero(m[1])}{number(m[2])}{m[3] or ''}度"),
        (rf"([{currencies}])(-?)({N})({SCALES})?", lambda m: say_money(m[1], m[2], m[3], m[4])),
        (rf"(?<![0-9.])({N})({SCALES})?([{currencies}])", lambda m: say_money(m[3], "", m[1], m[2])),
        (
            rf"(?<=[0-9])({units})(?:/({units}))?(?![A-Za-z])",
            lambda m: words[m[1]] + (f"每{words[m[2]]}" if m[2] else ""),
        ),
        (rf"{operand}(?:{operator}{operand}){{1,50}}", say_expression),
        (rf"[{superscripts}]{{1,9}}", say_power),
        (r"(-?)(?<![0-9/])([0-9]+)/([0-9]+)(?![0-9/])", say_fraction),
        (r"(?<![0-9.])([0-9]{1,24})分之([0-9]{1,24})(?![0-9])", lambda m: f"{cardinal(m[1])}分之{cardinal(m[2])}"),
        (rf"(?<![0-9.~\-])({N})%?[-~～]({N})%(?![0-9~-])", lambda m: f"百分之{number(m[1])}到百分之{number(m[2])}"),
        (
            rf"(-?)(?<![0-9.])({N})%(?=([0-9])?)",
            lambda m: f"{minus(m[1])}百分之{number(m[2])}" + ("，" if m[3] else ""),
        ),
        (
            rf"(-?)(?<![0-9.])({N})‰(?=([0-9])?)",
            lambda m: f"{minus(m[1])}千分之{number(m[2])}" + ("，" if m[3] else ""),
        ),
    ]


def _telephone_rules() -> list[tuple[str, Replacement]]:
    area = r"(0(?:10|2[0-9]|[3-9][0-9]{2}))"
    return [
        (r"(?<![0-9-])(?:\+?86-?)?1[3-9][0-9]-[0-9]{4}-[0-9]{4}(?![0-9-])", say_mobile),
        (r"(?<![0-9])(?:\+?86 ?-?)?1(?:[38][0-9]|5[0-35-9]|7[678]|9[89])[0-9]{8}(?![0-9])", say_mobile),
        (rf"(?<![0-9]){area}-([1-9][0-9]{{6,7}})(?![0-9])", lambda m: f"{telephone(m[1])}，{telephone(m[2])}"),
        (rf"(?<![0-9.{QUANTITY_PREFIX}]){area}?[1-9][0-9]{{6,7}}(?![0-9.]|{COUNTED_UNITS})", lambda m: telephone(m[0])),
        (r"(?<![0-9])400-?[0-9]{3,4}-?[0-9]{3,4}(?![0-9])", lambda m: telephone(m[0].replace("-", ""))),
    ]


def _remaining_rules() -> list[tuple[str, Replacement]]:
    measures = "|".join(_measure_words())
    symbols = table("zh_tables")["symbol_words_last_pass"]
    short = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)"
    return [
        (rf"(?<![0-9.+\-*/])(-?)({N})~(-?)({N})(?![0-9+*/])", say_range),
        (rf"(?<![0-9.+\-*/])(){short}-(){short}(?=({measures}|人|度)?)(?![0-9.+\-*/])", say_range),
        (rf"(?<![0-9])-(?={QUANTITY_PREFIX}?[0-9])", "负"),
        (r"(?<![0-9.])[0-9]+(?:\.[0-9]+){2,}", lambda m: "点".join(map(digit_by_digit, m[0].split(".")))),
        (r"(?<![0-9])([0-9]*\.[0-9]+)(?![0-9])", lambda m: number(m[1])),
        (rf"(?:{QUANTITY_PREFIX}|(?<=负))([0-9]+)", lambda m: cardinal(m[1])),
        (r"(?<=第)([0-9]{1,9})(?![0-9])", lambda m: cardinal(m[1])),
        (rf"(?<![0-9])([0-9]+)([多余几+])?(?=((?:[多余几])?(?:{measures})))(?!{VERBS})", say_counted),
        (
            r"(超过|大约|将近|接近|至少|最多|不到|多达|高达|达到|总共|一共|共计|小于|大于)([0-9]{3,9})(?![0-9])",
            say_amount,
        ),
        (r"[0-9]{3,}", lambda m: telephone(m[0])),
        (r"[0-9]+", lambda m: cardinal(m[0])),
        (r"(?<=[一-龥])-(?=[一-龥])", "到"),
        (rf"[{re.escape(''.join(symbols))}]", lambda m: symbols[m[0]] if m[0] != "-" else ""),
        (r"[-——《》【】<=>{}()（）#&@“”^_|\\]", ""),
    ]
