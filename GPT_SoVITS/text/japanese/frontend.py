"""Japanese: OpenJTalk's phones with marks for accent and phrase (specification text-frontend §7.2)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.text.data import lines
from GPT_SoVITS.text.symbols import MARKS, UNKNOWN

DIGITS = "0-9０-９"
KANJI = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KANA = "\u3041-\u3096\u309d-\u309f\u30a1-\u30ff\uff66-\uff9f"
SELDOM_ALONE = "々〆ゎゕゖヮヵヶゝゞゟヽヾヿ"
"""Signs that are read in words only."""
RUN = re.compile(rf"(?:[A-Za-zＡ-Ｚａ-ｚ{DIGITS}々〆〇{KANA}{KANJI}]|(?<=[{DIGITS}])[.,．，](?=[{DIGITS}]))+")
"""What OpenJTalk is given: all that it reads, with the marks inside a number."""
RUN_OF_REFERENCE = re.compile("[A-Za-z0-9々\u3040-\u30ff\u4e00-\u9fff１-９Ａ-Ｚａ-ｚ\uff66-\uff9d]+")
LONGEST_CALL = 200
"""Characters. OpenJTalk's buffers overflow on longer runs, which ends the process: 360 katakana in a row do it."""
PHRASE_START = re.compile(r"(?<=[\u3041-\u3096])(?=[^\u3041-\u3096])|(?<=[^0-9.,A-Za-z])(?=[0-9A-Za-z])")
"""Where a long run is cut if it can be: after particles, before numbers and words."""
VOICED_MARKS = str.maketrans(
    {"ヷ": "ヴァ", "ヸ": "ヴィ", "ヹ": "ヴェ", "ヺ": "ヴォ", "％": "パーセント", "%": "パーセント"}
)
PHONES_OF_MARKS = {
    **dict.fromkeys("：；，·、:;—–―", ","),
    **dict.fromkeys("。\n．", "."),
    "！": "!",
    "？": "?",
    **{mark: mark for mark in MARKS},
}
"""Marks that pause; other marks, brackets and blanks are passed over."""
MARK_RUN = re.compile(rf"([{re.escape(MARKS)}])[{re.escape(MARKS)}]+")
AMOUNT = r"([0-9]{1,20}(?:[.,][0-9]{1,20}){0,9})"
SIGNS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<![0-9])([0-9]{4})([/-])0?(1[0-2]|[1-9])\2(?:0?([1-9])|([12][0-9]|3[01]))(?![0-9])", r"\1年\3月\4\5日"),
        (r"(?<![0-9-])0[0-9]{1,4}-[0-9]{1,4}-[0-9]{3,4}(?![0-9-])", lambda match: _telephone(match[0])),
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
_IN_WORDS = re.compile(f"[{KANJI}{SELDOM_ALONE}]")
_LABEL = re.compile(r"-([^+]*)\+.*?/A:(xx|-?\d+)\+(xx|\d+)\+(xx|\d+)/.*?/F:(xx|\d+)_")


class Japanese:
    """Standard Japanese.

    `compat="reference"` leaves numbers with marks and signs in pieces, and gives every mark without a phone an UNK.
    """

    code = "ja"

    def __init__(self, compat: str | None = None) -> None:
        self._as_reference = compat == "reference"

    def readable(self, character: str) -> bool:
        """Kanji as well that `unread` has to ask the dictionary about."""
        if character.isascii() or character in PHONES_OF_MARKS or RUN.fullmatch(character):
            return True
        category = unicodedata.category(character)
        return category[0] in "PZM" or category in ("Cc", "Cf", "Nd") or character in "¥￥€£℃°−〜～゛゜"

    def unread(self, text: str) -> list[tuple[int, str]]:
        """Kanji and the like that stand in no word that OpenJTalk knows; it would drop them without a word."""
        known = _known_kanji()
        found: list[tuple[int, str]] = []
        for run in RUN.finditer(text):
            if any(match[0] not in known for match in _IN_WORDS.finditer(run[0])):
                found += ((run.start() + at, fragment) for at, fragment in _unknown_to_openjtalk(run[0], known))
        return found

    def normalise(self, text: str) -> str:
        if not self._as_reference:
            text = "".join(_digit(character) for character in text)
            for pattern, replacement in SIGNS:
                text = pattern.sub(replacement, text)
        return MARK_RUN.sub(r"\1", text)

    def phonemise(self, normalised: str, version: str) -> tuple[list[str], None]:
        """Phones, `[` where the pitch rises, `]` where it falls, `#` between phrases (which no version has: UNK)."""
        if self._as_reference:
            pattern, marks, text = RUN_OF_REFERENCE, _marks_of_reference, normalised.replace("％", "パーセント").lower()
        else:
            pattern, marks, text = RUN, _marks, _composed(normalised).translate(VOICED_MARKS).lower()
        phones: list[str] = []
        done = 0
        for run in pattern.finditer(text):
            phones += marks(text[done : run.start()])
            for part in _short_enough(run[0]):
                phones += _prosody(part)
            done = run.end()
        return phones + marks(text[done:]), None


def _telephone(number: str) -> str:
    names = ("ゼロ", "イチ", "ニー", "サン", "ヨン", "ゴー", "ロク", "ナナ", "ハチ", "キュー")
    return "、".join("".join(names[int(digit)] for digit in part) for part in number.split("-"))


def _digit(character: str) -> str:
    """0–9 for the digits of other scripts; the full-width ones OpenJTalk knows."""
    if character.isascii() or "０" <= character <= "９":
        return character
    value = unicodedata.decimal(character, None)
    return character if value is None else str(value)


def _composed(text: str) -> str:
    """か with a combining mark as one が; kanji of the compatibility block as their usual forms."""
    return unicodedata.normalize("NFC", text)


@cache
def _known_kanji() -> frozenset[str]:
    """Kanji that OpenJTalk reads wherever they stand."""
    return frozenset("".join(lines("ja_kanji.txt")))


def _unknown_to_openjtalk(run: str, known: frozenset[str]) -> Iterator[tuple[int, str]]:
    """(position, kanji) of the words without a reading. Only numbers are rewritten, so kanji keep their order."""
    start = 0
    for part in _short_enough(run):
        places = [(start + match.start(), match[0]) for match in _IN_WORDS.finditer(part) if match[0] not in known]
        start += len(part)
        silent = [
            not word["mora_size"]
            for word in _openjtalk().run_frontend(_composed(part))
            for character in _IN_WORDS.findall(word["string"])
            if character not in known
        ]
        yield from (place for place, is_silent in zip(places, silent) if is_silent)


def _marks(text: str) -> list[str]:
    return [PHONES_OF_MARKS[character] for character in text if character in PHONES_OF_MARKS]


def _marks_of_reference(text: str) -> list[str]:
    return [
        UNKNOWN if character in ":;—–―．" else PHONES_OF_MARKS.get(character, UNKNOWN)
        for character in text
        if character == "\n" or not character.isspace()
    ]


def _short_enough(run: str) -> Iterator[str]:
    """The run in parts that OpenJTalk can take, cut between phrases where there is a border in the later half."""
    start = 0
    while len(run) - start > LONGEST_CALL:
        borders = [
            match.start() for match in PHRASE_START.finditer(run, start + LONGEST_CALL // 2, start + LONGEST_CALL)
        ]
        end = borders[-1] if borders else start + LONGEST_CALL
        yield run[start:end]
        start = end
    yield run[start:]


class _Phone(NamedTuple):
    """One phone's place in its accent phrase, in the letters of the HTS label format."""

    p3: str
    a1: int
    """Moras to the accent's fall, 0 on it."""
    a2: int
    """Moras from the front, from 1."""
    a3: int
    """Moras from the back, from 1."""
    f1: int
    """Moras of the phrase."""


def _prosody(text: str) -> list[str]:
    """The phones of at most 200 characters; what OpenJTalk does not know between others is the pause `_`."""
    words = _openjtalk().run_frontend(text)
    if not any(word["mora_size"] for word in words):
        return []
    labels = [_parse(label) for label in _openjtalk().make_label(words)]
    phones: list[str] = []
    for phone, following in pairwise(labels):
        if phone.p3 == "sil":
            continue
        if phone.p3 == "pau":
            phones.append("_")
            continue
        phones.append(phone.p3)
        if phone.a3 == 1 and following.a2 == 1 and phone.p3 in ("a", "i", "u", "e", "o", "N", "cl"):
            phones.append("#")
        elif phone.a1 == 0 and following.a2 == phone.a2 + 1 and phone.a2 != phone.f1:
            phones.append("]")
        elif phone.a2 == 1 and following.a2 == 2:
            phones.append("[")
    return phones


def _parse(label: str) -> _Phone:
    fields = _LABEL.search(label)
    assert fields is not None, f"OpenJTalk changed its labels: {label}"
    p3 = fields[1]
    numbers = (-50 if number == "xx" else int(number) for number in fields.groups()[1:])
    return _Phone(p3.lower() if p3 in "AIUEO" else p3, *numbers)


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
