"""Korean: g2pk2's rules over MeCab's parts of speech, a phoneme for each jamo (docs/spec/text-frontend.md §7.3)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache

from GPT_SoVITS.text.data import table
from GPT_SoVITS.text.segment_parts import SegmentPart, SegmentPhonemes, SourcedPhoneme, phonemize_separately
from GPT_SoVITS.text.symbols import PUNCTUATION, symbols
from GPT_SoVITS.text.tracing import Span, TracedText

SPACE_PHONEME, UNKNOWN_PHONEME = "空", "停"
DIGITS = "영일이삼사오육칠팔구"
MAX_CALL_LENGTH = 200
"""Characters that the rules see at once; they are slow on more, and words so far apart have nothing to do."""
SENTENCE = re.compile(r"[^.?!。！？\n]*[.?!。！？\n]+ ?|[^.?!。！？\n]+")
WORD = re.compile(r" *[^ ]+ *")
PUNCTUATION_PHONEMES = {
    **dict.fromkeys("：；，·、", ","),
    **dict.fromkeys("。\n．", "."),
    "！": "!",
    "？": "?",
    " ": SPACE_PHONEME,
    **{character: character for character in PUNCTUATION},
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
UNSUPPORTED = re.compile("[\ud800-\udfff\u1113-\u1160\u1176-\u11a7\u11c3-\u11ff\ua960-\ua97f\ud7b0-\ud7ff]")
"""Halves of characters and jamo of old Korean, which no rule knows and the libraries reject."""


class Korean:
    """Standard Korean."""

    code = "ko"

    def is_readable(self, character: str) -> bool:
        """Return whether Korean says the character, or may pass over it."""
        if character.isascii() or READABLE.match(character):
            return True
        category = unicodedata.category(character)
        return category[0] in "PZM" or category in ("Cc", "Cf", "Nd")

    def find_unreadable(self, text: str) -> list[tuple[int, str]]:
        """Return []: the rules need no dictionary."""
        return []

    def normalize(self, text: str) -> str:
        """Write out dates, times, money, measures and decimals; leave other numbers to the rules, which can count."""
        return self.rewrite(TracedText(text)).text

    def rewrite(self, text: TracedText) -> TracedText:
        """Normalize a text and keep track of its characters."""
        text = text.map(_plain_character)
        text = text.sub(_DATE, r"\1년 \3월 \4\5일")
        text = text.sub(_TIME, lambda m: f"{m[1]}시" + (f" {int(m[2])}분" if int(m[2]) else ""))
        text = text.sub(_RANGE, "에서 ")
        text = text.sub(_MONEY, lambda m: _say_number(m[2], m[3]) + CURRENCIES[m[1]])
        text = text.sub(_MEASURE, lambda m: _say_number(m[1], m[2]) + UNITS[m[3]])
        text = text.sub(_WITH_POINT, lambda m: _say_number(m[1], m[2]))
        return text.sub(_WITH_COMMAS, lambda m: _say_cardinal(m[1].replace(",", "")))

    def phonemize(self, parts: Sequence[SegmentPart], version: str) -> SegmentPhonemes:
        """Return the phonemes; a text that ends in a jamo gets a full stop."""
        return phonemize_separately(parts, self.rewrite, self.phonemize_normalized)

    def phonemize_normalized(self, norm_text: TracedText) -> list[SourcedPhoneme]:
        """Return the phonemes of normalized text, each with its word: sounds melt into one another across syllables."""
        letter_names, compound_vowels = table("ko_letter_names"), table("ko_compound_vowels")
        text = norm_text.compose().sub(UNSUPPORTED, "□")
        text = text.map(
            lambda character: letter_names.get(character.lower(), character) if character.isascii() else character
        )
        pieces: list[TracedText] = []
        start = 0
        for part in cut_for_rules(text.text):
            pieces.append(_pronounce(text.cut(start, start + len(part))))
            start += len(part)
        jamo = TracedText.join(pieces).map(lambda character: compound_vowels.get(character, character))
        jamo = jamo.sub(LIQUID_AFTER, "ㄴ")
        phonemes = _phoneme_by_character()
        spoken = [
            SourcedPhoneme(phonemes.get(character, UNKNOWN_PHONEME), jamo.span(position, position + 1))
            for position, character in enumerate(jamo.text)
        ]
        return [*spoken, SourcedPhoneme(".", None)] if JAMO.match(jamo.text[-1:]) else spoken


def _pronounce(text: TracedText) -> TracedText:
    """Return the jamo of at most 200 characters, each with the place of its word.

    Where the rules make another number of words, as of digits before a noun, all have the place of all.
    """
    from GPT_SoVITS.text.korean.rules import pronounce

    jamo = pronounce(text.text)
    words, spoken = text.split(" "), jamo.split(" ")
    if len(words) != len(spoken):
        words, spoken = [text], [jamo]
    spans: list[Span] = []
    for index, (word, sounds) in enumerate(zip(words, spoken, strict=True)):
        place = word.span(0, len(word)) or (spans[-1] if spans else Span(0, 0))
        spans += [place] * (len(sounds) + (index + 1 < len(spoken)))
    return TracedText(jamo, spans)


@cache
def _phoneme_by_character() -> dict[str, str]:
    jamo = (symbol for symbol in symbols("v2") if len(symbol) == 1 and JAMO.match(symbol))
    return PUNCTUATION_PHONEMES | {character: character for character in jamo}


@lru_cache(maxsize=4096)
def _plain_character(character: str) -> str:
    """Return 0–9 for digits of other scripts, half-width letters, a space for any whitespace but a newline."""
    if (value := unicodedata.decimal(character, None)) is not None:
        return str(value)
    if "Ａ" <= character <= "Ｚ" or "ａ" <= character <= "ｚ":
        return chr(ord(character) - 0xFEE0)
    return " " if character.isspace() and character != "\n" else character


def cut_for_rules(text: str) -> Iterator[str]:
    """Yield the text in parts of at most 200 characters: whole sentences, else whole words, else what fits."""
    if len(text) <= MAX_CALL_LENGTH:
        yield text
        return
    atoms = (
        word[start : start + MAX_CALL_LENGTH]
        for sentence in SENTENCE.findall(text)
        for word in ([sentence] if len(sentence) <= MAX_CALL_LENGTH else WORD.findall(sentence))
        for start in range(0, len(word), MAX_CALL_LENGTH)
    )
    part = ""
    for atom in atoms:
        if part and len(part) + len(atom) > MAX_CALL_LENGTH:
            yield part
            part = ""
        part += atom
    yield part


def _say_number(whole: str, part: str | None) -> str:
    """Return 천이백삼십사점오 for 1,234.5; leave an integer as it is."""
    if not part:
        return whole
    return f"{_say_cardinal(whole.replace(',', ''))}점{''.join(DIGITS[int(digit)] for digit in part)}"


def _say_cardinal(digits: str) -> str:
    """Write out up to sixteen digits; say a longer number, or one that begins with 0, digit by digit."""
    if len(digits) > 16 or (digits[0] == "0" and len(digits) > 1):
        return "".join(DIGITS[int(digit)] for digit in digits)
    groups = []
    for power, scale in zip(range(12, -1, -4), ("조", "억", "만", "")):
        group = int(digits) // 10**power % 10**4
        words = ""
        for unit, name in ((1000, "천"), (100, "백"), (10, "십"), (1, "")):
            digit = group // unit % 10
            if digit:
                words += ("" if digit == 1 and name else DIGITS[digit]) + name
        if group:
            groups.append("만" if (words, scale) == ("일", "만") else words + scale)
    return "".join(groups) or "영"
