"""Cut a mixed text into segments of one language, by script alone: the same text is always cut the same way.

docs/spec/text-frontend.md §5 describes upstream's way.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

from GPT_SoVITS.text.languages import REGISTRY
from GPT_SoVITS.text.units import mandarin_units

LATIN = "A-Za-zÀ-ÖØ-öø-ɏḀ-ỿＡ-Ｚａ-ｚ"
HAN = r"々〇㐀-䶿一-鿿\uf900-\ufaff\U00020000-\U0003ffff"
KANA = "ぁ-ゖゝゞァ-ヺーヽヾｦ-ﾝ"
HANGUL = "가-힣ᄀ-ᇿㄱ-ㆎ"
CLAUSE_END = re.compile("[。！？!?\n]")
SPACED_UNITS = "mm|cm|km/h|km|kg|mg|ml|kHz|MHz|GHz|Hz|kW|dB"
"""Units that are nothing else, so that whitespace may stand before them."""
COMMAS_AND_STOPS = frozenset(",.!?，。！？")
SCRIPT_LANGUAGES = {"latin": "en", "kana": "ja", "hangul": "ko"}
UNDECIDED = "?"
"""The language of a number until its neighbors decide it."""


@dataclass(frozen=True, slots=True)
class LanguageSegment:
    """A stretch of a text in one language."""

    language: str
    text: str
    start: int
    """Characters before it in the whole text."""

    @property
    def end(self) -> int:
        """The character after its last one."""
        return self.start + len(self.text)


class ScriptRun(NamedTuple):
    """A stretch of a text in one script."""

    script: str
    """latin, han, kana, hangul, digits, or other for what belongs to no language of its own."""
    text: str
    start: int


class _LabeledRun(NamedTuple):
    run: ScriptRun
    language: str
    """"" for a run that belongs to no language of its own, `UNDECIDED` for a number."""


def segment_by_language(text: str, code: str, number_language: str = "") -> list[LanguageSegment]:
    """Return the segments of a text, in order and without a gap; at least one, whatever the text.

    `code` is one of `common.languages.LANGUAGE_CODES`. Numbers take the language of their neighbors, but under `all_…`
    that of the code. Punctuation goes with what is before it, at the start with what follows. `number_language`: that
    of numbers in a text without a word that tells it, under `auto…`; "" for Mandarin or Cantonese.
    """
    if code == "en":
        return [LanguageSegment("en", text, 0)]
    single = "" if code.startswith("auto") else code.removeprefix("all_")
    mandarin = "yue" if code == "auto_yue" else "zh"
    clause_ends = [match.end() for match in CLAUSE_END.finditer(text)]
    clauses_with_kana = {bisect_right(clause_ends, match.start()) for match in re.finditer(f"[{KANA}]+", text)}
    runs = []
    for run in _script_runs(text):
        if run.script == "other":
            language = ""
        elif run.script == "latin":
            language = "en"
        elif run.script == "digits":
            language = single if code.startswith("all_") else UNDECIDED
        elif single:
            language = single
        elif run.script == "han":
            in_kana_clause = bisect_right(clause_ends, run.start) in clauses_with_kana
            language = "ja" if in_kana_clause and _may_be_japanese(run.text) else mandarin
        else:
            language = SCRIPT_LANGUAGES[run.script]
        runs.append(_LabeledRun(run, language))
    runs = _decide_numbers(runs)
    fallback = single or number_language or mandarin
    if (
        not single
        and not number_language
        and all(language in ("", UNDECIDED) for _, language in runs)
        and re.search("[A-Za-z]", text)
    ):
        fallback = "en"  # a number with a Latin unit, and nothing else that tells
    borders: list[tuple[int, str]] = []
    for run, language in runs:
        language = fallback if language == UNDECIDED else language
        if language and (not borders or borders[-1][1] != language):
            borders.append((run.start if borders else 0, language))
    if not borders:
        return [LanguageSegment(fallback, text, 0)]
    ends = [start for start, _ in borders[1:]] + [len(text)]
    return [LanguageSegment(language, text[start:end], start) for (start, language), end in zip(borders, ends)]


def language_of_last_letters(text: str) -> str:
    """Return the language of the last script that tells one, with zh for every ideograph; "" when none does."""
    for run in reversed(_script_runs(text)):
        if run.script in ("han", *SCRIPT_LANGUAGES):
            return SCRIPT_LANGUAGES.get(run.script, "zh")
    return ""


@cache
def _script_pattern() -> re.Pattern[str]:
    units = "|".join(re.escape(unit) for unit in sorted(mandarin_units(), key=len, reverse=True))
    unit = rf"(?:(?:{units})| (?:{SPACED_UNITS}))(?![{LATIN}])"
    number = rf"[-+$￥¥€£]?\d{{1,60}}(?:[.,:/~\-]\d{{1,60}}){{0,20}}(?:[%％℃]|°[CF]|{unit})?"
    scripts = {
        "digits": number,
        "latin": f"[{LATIN}]+",
        "han": f"[{HAN}]+",
        "kana": f"[{KANA}]+",
        "hangul": f"[{HANGUL}]+",
    }
    return re.compile("|".join(f"(?P<{script}>{pattern})" for script, pattern in scripts.items()))


def _script_runs(text: str) -> list[ScriptRun]:
    """Return runs that together are the text; what no pattern matches is `other`."""
    runs: list[ScriptRun] = []
    end = 0
    for match in _script_pattern().finditer(text):
        if match.start() > end:
            runs.append(ScriptRun("other", text[end : match.start()], end))
        runs.append(ScriptRun(match.lastgroup or "other", match[0], match.start()))
        end = match.end()
    if end < len(text):
        runs.append(ScriptRun("other", text[end:], end))
    return runs


def _may_be_japanese(ideographs: str) -> bool:
    """Return False where a character exists in simplified Chinese alone, unless another exists in Japanese alone."""
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


def _decide_numbers(runs: list[_LabeledRun]) -> list[_LabeledRun]:
    """Give each number the language of a neighbor: punctuation beside it decides which, then the longer neighbor."""
    following: list[_LabeledRun | None] = [None] * len(runs)
    after: _LabeledRun | None = None
    for index in range(len(runs) - 1, -1, -1):
        following[index] = after
        if runs[index].language in REGISTRY:
            after = runs[index]
    decided: list[_LabeledRun] = []
    before: _LabeledRun | None = None
    tail = ""  # the last punctuation between `before` and the number
    for index, (run, language) in enumerate(runs):
        if language == UNDECIDED:
            after = following[index]
            head = runs[index + 1].run.text[:1] if index + 1 < len(runs) else ""
            if before is None or after is None:
                neighbor = before or after
                language = neighbor.language if neighbor else UNDECIDED
            elif before.language == after.language or (tail not in COMMAS_AND_STOPS and head in COMMAS_AND_STOPS):
                language = before.language
            elif tail in COMMAS_AND_STOPS:
                language = after.language
            else:
                language = before.language if len(before.run.text) >= len(after.run.text) else after.language
        decided.append(_LabeledRun(run, language))
        if language in REGISTRY:
            before, tail = decided[-1], ""
        elif not language:
            tail = run.text.strip()[-1:] or tail
    return decided
