"""Japanese: OpenJTalk's phonemes with signs for accent and phrase (docs/spec/text-frontend.md §7.2)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text.data import lines
from GPT_SoVITS.text.segment_parts import SegmentPart, SegmentPhonemes, SourcedPhoneme, phonemize_separately
from GPT_SoVITS.text.symbols import PUNCTUATION
from GPT_SoVITS.text.tracing import TracedText

DIGITS = "0-9０-９"
KANJI = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KANA = "\u3041-\u3096\u309d-\u309f\u30a1-\u30ff\uff66-\uff9f"
READ_IN_WORDS = "々〆ゎゕゖヮヵヶゝゞゟヽヾヿ"
"""Characters that are read in words only."""
RUN = re.compile(rf"(?:[A-Za-zＡ-Ｚａ-ｚ{DIGITS}々〆〇{KANA}{KANJI}]|(?<=[{DIGITS}])[.,．，](?=[{DIGITS}]))+")
"""What OpenJTalk is given: all that it reads, with the punctuation inside a number."""
MAX_CALL_LENGTH = 200
"""Characters. OpenJTalk's buffers overflow on longer runs, which ends the process: 360 katakana in a row do it."""
PHRASE_START = re.compile(r"(?<=[\u3041-\u3096])(?=[^\u3041-\u3096])|(?<=[^0-9.,A-Za-z])(?=[0-9A-Za-z])")
"""Where a long run is cut if it can be: after particles, before numbers and words."""
SPELLINGS = str.maketrans(
    {"ヷ": "ヴァ", "ヸ": "ヴィ", "ヹ": "ヴェ", "ヺ": "ヴォ", "％": "パーセント", "%": "パーセント"}
)
PUNCTUATION_PHONEMES = {
    **dict.fromkeys("：；，·、:;—–―", ","),
    **dict.fromkeys("。\n．", "."),
    "！": "!",
    "？": "?",
    **{character: character for character in PUNCTUATION},
}
"""Punctuation that pauses; other punctuation, brackets and whitespace are passed over."""
PUNCTUATION_RUN = re.compile(rf"([{re.escape(PUNCTUATION)}])[{re.escape(PUNCTUATION)}]+")
AMOUNT = r"([0-9]{1,20}(?:[.,][0-9]{1,20}){0,9})"
SYMBOL_RULES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<![0-9])([0-9]{4})([/-])0?(1[0-2]|[1-9])\2(?:0?([1-9])|([12][0-9]|3[01]))(?![0-9])", r"\1年\3月\4\5日"),
        (r"(?<![0-9-])0[0-9]{1,4}-[0-9]{1,4}-[0-9]{3,4}(?![0-9-])", lambda match: _say_telephone(match[0])),
        (r"(?<![0-9:])([01]?[0-9]|2[0-4]):([0-5][0-9])(?![0-9:])", r"\1時\2分"),
        (rf"[¥￥] ?{AMOUNT}", r"\1円"),
        (rf"\$ ?{AMOUNT}", r"\1ドル"),
        (rf"€ ?{AMOUNT}", r"\1ユーロ"),
        (rf"£ ?{AMOUNT}", r"\1ポンド"),
        (r"(?<![0-9/])([0-9]{1,4})/([0-9]{1,4})(?![0-9/])", r"\2ぶんの\1"),
        (r"(?<=[0-9])[~〜～](?=[0-9])", "から"),
        (r"(?<![0-9A-Za-z-])[-−](?=[0-9])", "マイナス"),
        (r"(?<=[0-9]) ?(?:℃|°C)", "度"),
        (r"(?<=[0-9]) (?=(?:mm|cm|km|kg|mg|ml|Hz|kHz|MHz|GHz|kW|dB)(?![A-Za-z]))", ""),
        (r"(?<=[\u3041-\u3096\u30a1-\u30fa])[〜～~]{1,9}", "ー"),
    )
]
"""What OpenJTalk would pass over or pause at."""
MORA_ENDS = ("a", "i", "u", "e", "o", "N", "cl")
FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
NUMBER = re.compile("[０-９][０-９．，]*")
COUNTED = re.compile("[〇一二三四五六七八九十百千万億兆]+(.*)")
_IN_WORDS = re.compile(f"[{KANJI}{READ_IN_WORDS}]")
_LABEL = re.compile(r"-([^+]*)\+.*?/A:(xx|-?\d+)\+(xx|\d+)\+(xx|\d+)/.*?/F:(xx|\d+)_")


class Japanese:
    """Standard Japanese."""

    code = "ja"

    def is_readable(self, character: str) -> bool:
        """Return whether Japanese says the character, or may pass over it; kanji are looked up by `find_unreadable`."""
        if character.isascii() or character in PUNCTUATION_PHONEMES or RUN.fullmatch(character):
            return True
        category = unicodedata.category(character)
        return category[0] in "PZM" or category in ("Cc", "Cf", "Nd") or character in "¥￥€£℃°−〜～゛゜"

    def find_unreadable(self, text: str) -> list[tuple[int, str]]:
        """Return kanji and the like that stand in no word of OpenJTalk, which would drop them without a word."""
        always_read = _kanji_always_read()
        unreadable: list[tuple[int, str]] = []
        for run in RUN.finditer(text):
            if any(match[0] not in always_read for match in _IN_WORDS.finditer(run[0])):
                unreadable += (
                    (run.start() + position, kanji) for position, kanji in _unknown_to_openjtalk(run[0], always_read)
                )
        return unreadable

    def normalize(self, text: str) -> str:
        """Return the text with numbers and symbols as OpenJTalk reads them, and no run of punctuation."""
        return self.rewrite(TracedText(text)).text

    def rewrite(self, text: TracedText) -> TracedText:
        """Normalize a text and keep track of its characters."""
        text = text.map(_plain_digit)
        for pattern, replacement in SYMBOL_RULES:
            text = text.sub(pattern, replacement)
        return text.sub(PUNCTUATION_RUN, r"\1")

    def phonemize(self, parts: Sequence[SegmentPart], version: str) -> SegmentPhonemes:
        """Return phonemes, `[` where the pitch rises, `]` where it falls, `#` (UNK in any version) between phrases."""
        return phonemize_separately(parts, self.rewrite, self.phonemize_normalized)

    def phonemize_normalized(self, norm_text: TracedText) -> list[SourcedPhoneme]:
        """Return the phonemes of normalized text, each with its word or its punctuation."""
        # NFC: か with a combining character as one が, kanji of the compatibility block as their usual forms.
        text = norm_text.compose().map(lambda character: character.translate(SPELLINGS).lower())
        phonemes: list[SourcedPhoneme] = []
        end = 0
        for run in RUN.finditer(text.text):
            phonemes += _punctuation_phonemes(text.cut(end, run.start()))
            start = run.start()
            for part in cut_for_openjtalk(run[0]):
                phonemes += phonemes_with_accents(text.cut(start, start + len(part)))
                start += len(part)
            end = run.end()
        return phonemes + _punctuation_phonemes(text.cut(end))


def _say_telephone(number: str) -> str:
    names = ("ゼロ", "イチ", "ニー", "サン", "ヨン", "ゴー", "ロク", "ナナ", "ハチ", "キュー")
    return "、".join("".join(names[int(digit)] for digit in part) for part in number.split("-"))


def _plain_digit(character: str) -> str:
    """Return 0–9 for a digit of another script; OpenJTalk knows the full-width ones."""
    if character.isascii() or "０" <= character <= "９":
        return character
    value = unicodedata.decimal(character, None)
    return character if value is None else str(value)


@cache
def _kanji_always_read() -> frozenset[str]:
    """Return the kanji that OpenJTalk reads wherever they stand."""
    return frozenset("".join(lines("ja_kanji.txt")))


def _unknown_to_openjtalk(run: str, always_read: frozenset[str]) -> Iterator[tuple[int, str]]:
    """Yield (position, kanji) of the words without a pronunciation.

    Only numbers are rewritten, so kanji keep their order.
    """
    start = 0
    for part in cut_for_openjtalk(run):
        doubtful = [
            (start + match.start(), match[0]) for match in _IN_WORDS.finditer(part) if match[0] not in always_read
        ]
        start += len(part)
        silent = [
            not word["mora_size"]
            for word in _openjtalk().run_frontend(unicodedata.normalize("NFC", part))
            for character in _IN_WORDS.findall(word["string"])
            if character not in always_read
        ]
        yield from (entry for entry, is_silent in zip(doubtful, silent) if is_silent)


def _punctuation_phonemes(text: TracedText) -> list[SourcedPhoneme]:
    return [
        SourcedPhoneme(PUNCTUATION_PHONEMES[character], text.span(position, position + 1))
        for position, character in enumerate(text.text)
        if character in PUNCTUATION_PHONEMES
    ]


def cut_for_openjtalk(run: str) -> Iterator[str]:
    """Yield the run in parts that OpenJTalk can take, cut between phrases where there is a border in the later half."""
    start = 0
    while len(run) - start > MAX_CALL_LENGTH:
        borders = [
            match.start() for match in PHRASE_START.finditer(run, start + MAX_CALL_LENGTH // 2, start + MAX_CALL_LENGTH)
        ]
        end = borders[-1] if borders else start + MAX_CALL_LENGTH
        yield run[start:end]
        start = end
    yield run[start:]


class _LabeledPhoneme(NamedTuple):
    """A phoneme and its place in its accent phrase, by the fields of the HTS label format."""

    p3: str
    """The phoneme itself."""
    a1: int
    """Moras to the accent's fall, 0 on it."""
    a2: int
    """Moras from the front, from 1."""
    a3: int
    """Moras from the back, from 1."""
    f1: int
    """Moras of the phrase."""


def phonemes_with_accents(text: TracedText) -> list[SourcedPhoneme]:
    """Return the phonemes of at most 200 characters; what OpenJTalk does not know between others is the pause `_`."""
    words = _openjtalk().run_frontend(text.text)
    if not any(word["mora_size"] for word in words):
        return []
    labels = [_parse_label(label) for label in _openjtalk().make_label(words)]
    word_of_mora = [
        text.span(*place)
        for word, place in zip(words, _word_places(text.text, words))
        for _ in range(word["mora_size"])
    ]
    phonemes: list[SourcedPhoneme] = []
    mora = 0
    for label, following in pairwise(labels):
        if label.p3 == "sil":
            continue
        source = word_of_mora[min(mora, len(word_of_mora) - 1)]
        if label.p3 == "pau":
            phonemes.append(SourcedPhoneme("_", source))
            continue
        phonemes.append(SourcedPhoneme(label.p3, source))
        ends_mora = label.p3 in MORA_ENDS
        mora += ends_mora
        if label.a3 == 1 and following.a2 == 1 and ends_mora:
            phonemes.append(SourcedPhoneme("#", source))
        elif label.a1 == 0 and following.a2 == label.a2 + 1 and label.a2 != label.f1:
            phonemes.append(SourcedPhoneme("]", source))
        elif label.a2 == 1 and following.a2 == 2:
            phonemes.append(SourcedPhoneme("[", source))
    return phonemes


def _word_places(text: str, words: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Return where each of OpenJTalk's words stands in a text, which it writes with full-width characters.

    It writes numbers out, so the words of one have the place of all its digits.
    """
    wide = text.translate(FULL_WIDTH)
    places: list[tuple[int, int]] = []
    position = 0
    for string in (word["string"] for word in words):
        number = NUMBER.match(wide, position)
        if number is None or wide.startswith(string, position):
            end = min(position + len(string), len(text))
            places.append((position, end))
            position = end
            continue
        counted = COUNTED.fullmatch(string)  # 五日 for 5日
        if counted is not None and counted[1] and wide.startswith(counted[1], number.end()):
            places.append((position, number.end() + len(counted[1])))
            position = places[-1][1]
        elif wide.startswith(string, number.end()):
            places.append((number.end(), number.end() + len(string)))
            position = places[-1][1]
        else:
            places.append((position, number.end()))
    return places


def _parse_label(label: str) -> _LabeledPhoneme:
    fields = _LABEL.search(label)
    assert fields is not None, f"OpenJTalk changed its labels: {label}"
    p3 = fields[1]
    numbers = (-50 if number == "xx" else int(number) for number in fields.groups()[1:])
    return _LabeledPhoneme(p3.lower() if p3 in "AIUEO" else p3, *numbers)


@cache
def _openjtalk() -> Any:
    import pyopenjtalk

    if not Path(pyopenjtalk.OPEN_JTALK_DICT_DIR.decode()).is_dir():  # it would be downloaded in the middle of a request
        raise ModelError(
            "missing_part",
            "Japanese needs an OpenJTalk with its dictionary; the one that is installed has none.",
            hint='pip uninstall pyopenjtalk; pip install "sovitsd[ja]"',
        )
    return pyopenjtalk
