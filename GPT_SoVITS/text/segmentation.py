"""A mixed text cut into pieces of one language, by script alone: the same text is always cut the same way."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

from GPT_SoVITS.text.languages import REGISTRY
from GPT_SoVITS.text.mandarin.normalize import unit_words

LATIN = "A-Za-zÀ-ÖØ-öø-ɏḀ-ỿＡ-Ｚａ-ｚ"
HAN = r"々〇㐀-䶿一-鿿\uf900-\ufaff\U00020000-\U0003ffff"
KANA = "ぁ-ゖゝゞァ-ヺーヽヾｦ-ﾝ"
HANGUL = "가-힣ᄀ-ᇿㄱ-ㆎ"
CLAUSE_END = re.compile("[。！？!?\n]")
UNITS_APART = "mm|cm|km/h|km|kg|mg|ml|kHz|MHz|GHz|Hz|kW|dB"
"""Units that are nothing else, so that a blank may stand before them."""
COMMAS_AND_STOPS = frozenset(",.!?，。！？")
SCRIPT_LANGUAGES = {"latin": "en", "kana": "ja", "hangul": "ko"}


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a text in one language."""

    language: str
    text: str
    start: int
    """Characters before it in the whole text."""


class Run(NamedTuple):
    kind: str
    """latin, han, kana, hangul, digits, or other for what belongs to no language of its own."""
    text: str
    start: int


def segment(text: str, code: str) -> list[Piece]:
    """The pieces of a text, in order and without a gap; at least one, whatever the text.

    `code` is one of `language.CODES`. Numbers go with their neighbours, but under `all_…` with the language itself.
    """
    if code == "en":
        return [Piece("en", text, 0)]
    single = "" if code.startswith("auto") else code.removeprefix("all_")
    mandarin = "yue" if code == "auto_yue" else "zh"
    kana = _kana_finder(text)
    runs = []
    for run in _runs(text):
        language = _script_language(run, single, kana)
        if language == "?" and code.startswith("all_"):
            language = single
        runs.append((run, mandarin if language == "zh" and not single else language))
    labelled = _settle_digits(runs)
    return _join(text, labelled, single or _alone(text, labelled, mandarin))


def script(text: str) -> str:
    """The language of the last letters of a text, "" when it has none that tell."""
    for run in reversed(_runs(text)):
        if run.kind in ("han", *SCRIPT_LANGUAGES):
            return SCRIPT_LANGUAGES.get(run.kind, "zh")
    return ""


@cache
def _pattern() -> re.Pattern[str]:
    units = "|".join(re.escape(unit) for unit in sorted(unit_words(), key=len, reverse=True))
    unit = rf"(?:(?:{units})| (?:{UNITS_APART}))(?![{LATIN}])"
    figures = rf"[-+$￥¥€£]?\d{{1,60}}(?:[.,:/~\-]\d{{1,60}}){{0,20}}(?:[%％℃]|°[CF]|{unit})?"
    kinds = {
        "digits": figures,
        "latin": f"[{LATIN}]+",
        "han": f"[{HAN}]+",
        "kana": f"[{KANA}]+",
        "hangul": f"[{HANGUL}]+",
    }
    return re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in kinds.items()))


def _runs(text: str) -> list[Run]:
    """Every character in one run; what no pattern takes is `other`."""
    runs: list[Run] = []
    done = 0
    for match in _pattern().finditer(text):
        if match.start() > done:
            runs.append(Run("other", text[done : match.start()], done))
        runs.append(Run(match.lastgroup or "other", match[0], match.start()))
        done = match.end()
    if done < len(text):
        runs.append(Run("other", text[done:], done))
    return runs


def _script_language(run: Run, single: str, kana: Callable[[int], bool]) -> str:
    """The language of a run by itself: "" for other, "?" for a number that its neighbours decide.

    `single`: what all but Latin letters is in, "" where every script has its language. `kana` answers whether the
    clause around a position has any.
    """
    if run.kind == "other":
        return ""
    if run.kind == "latin":
        return "en"
    if run.kind == "digits":
        return "?"
    if single:
        return single
    if run.kind == "han":
        return "ja" if kana(run.start) and _may_be_japanese(run.text) else "zh"
    return SCRIPT_LANGUAGES[run.kind]


def _kana_finder(text: str) -> Callable[[int], bool]:
    """Every clause is looked through once, however many runs ask about it."""
    ends = [match.end() for match in CLAUSE_END.finditer(text)]
    found = {bisect_right(ends, match.start()) for match in re.finditer(f"[{KANA}]+", text)}
    return lambda position: bisect_right(ends, position) in found


def _may_be_japanese(ideographs: str) -> bool:
    """No character that only simplified Chinese has, unless there is one that only Japanese has."""
    japanese = [_encodable(character, "shift_jis") for character in ideographs]
    chinese = [_encodable(character, "gb2312") for character in ideographs]
    only_simplified = any(c and not j for c, j in zip(chinese, japanese))
    return not only_simplified or any(
        j and not c and not _encodable(x, "big5") for x, c, j in zip(ideographs, chinese, japanese)
    )


@lru_cache(maxsize=8192)
def _encodable(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _settle_digits(runs: list[tuple[Run, str]]) -> list[tuple[Run, str]]:
    """Numbers take the language of a neighbour that can be spoken: marks beside them decide, then the longer one."""
    following: list[tuple[Run, str] | None] = [None] * len(runs)
    ahead: tuple[Run, str] | None = None
    for index in range(len(runs) - 1, -1, -1):
        following[index] = ahead
        if runs[index][1] in REGISTRY:
            ahead = runs[index]
    settled: list[tuple[Run, str]] = []
    before: tuple[Run, str] | None = None
    tail = ""
    for index, (run, language) in enumerate(runs):
        if language == "?":
            after = following[index]
            head = runs[index + 1][0].text[:1] if index + 1 < len(runs) else ""
            language = _digit_language(before, after, tail, head)
        settled.append((run, language))
        if language in REGISTRY:
            before, tail = (run, language), ""
        elif not language:
            tail = run.text.strip()[-1:] or tail
    return settled


def _digit_language(before: tuple[Run, str] | None, after: tuple[Run, str] | None, tail: str, head: str) -> str:
    """`tail`: the last mark between the previous run and the number; `head`: the first character after it."""
    if before is None or after is None:
        neighbour = before or after
        return neighbour[1] if neighbour else "?"
    if before[1] == after[1]:
        return before[1]
    if tail in COMMAS_AND_STOPS:
        return after[1]
    if head in COMMAS_AND_STOPS:
        return before[1]
    return before[1] if len(before[0].text) >= len(after[0].text) else after[1]


def _alone(text: str, labelled: list[tuple[Run, str]], default: str) -> str:
    """The language where nothing in the text tells: the default, but English for a number with a Latin unit."""
    only_figures = all(language in ("", "?") for _, language in labelled)
    return "en" if only_figures and re.search("[A-Za-z]", text) else default


def _join(text: str, labelled: list[tuple[Run, str]], alone: str) -> list[Piece]:
    """Equal neighbours become one piece; marks go with what is before them, those at the start with what follows."""
    bounds: list[tuple[int, str]] = []
    for run, language in labelled:
        language = alone if language == "?" else language
        if language and (not bounds or bounds[-1][1] != language):
            bounds.append((run.start if bounds else 0, language))
    if not bounds:
        return [Piece(alone, text, 0)]
    ends = [start for start, _ in bounds[1:]] + [len(text)]
    return [Piece(language, text[start:end], start) for (start, language), end in zip(bounds, ends)]
