"""g2pk2's rules of Korean pronunciation (Apache-2.0), without the package's own start-up.

Importing g2pk2 itself imports NLTK, downloads a corpus of English and may run pip; none of that serves Korean. So its
modules of rules are imported alone, and its two tables are compiled once instead of read at every call.
"""

from __future__ import annotations

import re
import sys
import threading
import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

_lock = threading.Lock()
_PLACEHOLDER = re.compile("(^|[^\u1100-\u1112])([\u1161-\u1175])")
_TAG = re.compile("/[PJEB]")
_COUNT = re.compile("([0-9][0-9,]*)([ㄱ-힣]+/B)")
"""A number before a bound noun, which decides between Korean and Chinese numerals."""
_LONGEST_NUMBER = 16
"""Digits; longer numbers are said digit by digit."""
_DIGITS = str.maketrans("0123456789", "영일이삼사오육칠팔구")
SPECIAL_RULES = (
    "jyeo", "ye", "consonant_ui", "josa_ui", "vowel_ui", "jamo", "rieulgiyeok", "rieulbieub", "verb_nieun", "balb",
    "palatalize", "modifying_rieul",
)  # fmt: skip
"""In the order in which they must act."""
LINKING_RULES = ("link1", "link2", "link3", "link4")


class _Rules(NamedTuple):
    idioms: list[tuple[re.Pattern[str], str]]
    table: list[tuple[str, re.Pattern[str], str]]
    """(coda, coda and what follows it, what they become)."""
    special: list[Callable[[str], str]]
    linking: list[Callable[[str], str]]
    annotate: Callable[[str, Any], str]
    """Adds what the rules need to know of parts of speech."""
    native_nouns: str
    """Bound nouns that Korean numerals precede, with spaces between them."""
    spell_number: Callable[[str, bool], str]
    """Writes out digits and commas, in Chinese numerals if the flag is true."""


def pronounce(text: str) -> str:
    """Return the text in compatibility jamo as it is pronounced; what is not Korean stays.

    The rules are slow on more than a few hundred characters.
    """
    from jamo import h2j, j2hcj

    rules = _rules()
    for pattern, replacement in rules.idioms:
        text = pattern.sub(replacement, text)
    with _lock:  # one tagger, and its buffers, for all threads
        text = rules.annotate(text, _tagger())
    letters = h2j(_spell_numbers(text, rules))
    for rule in rules.special:
        letters = rule(letters)
    letters = _TAG.sub("", letters)
    for coda, pattern, replacement in rules.table:
        if coda in letters:
            letters = pattern.sub(replacement, letters)
    for rule in rules.linking:
        letters = rule(letters)
    return str(j2hcj(_PLACEHOLDER.sub("\\1\u110b\\2", letters)))


def _spell_numbers(text: str, rules: _Rules) -> str:
    """Write out the numbers of annotated text.

    g2pk2's own function replaces counts everywhere, in the order of a set: 5일 may be replaced at the end of 15일, or
    not, as the hash seed decides. Here each count is replaced where it stands.
    """

    def spell(count: re.Match[str]) -> str:
        number, noun = count[1].replace(",", ""), count[2].removesuffix("/B")
        if len(number) > _LONGEST_NUMBER:
            return count[0]
        return rules.spell_number(number, noun not in rules.native_nouns) + count[2]

    return _COUNT.sub(spell, text).translate(_DIGITS)


@cache
def _tagger() -> Any:
    from mecab import MeCab

    return MeCab()


@cache
def _rules() -> _Rules:
    with _lock:
        specification = find_spec("g2pk2")
        assert specification, "the registry looked for it"
        folder = Path(str(specification.origin)).parent
        special, regular, numerals, utils = _import_alone(folder, "special", "regular", "numerals", "utils")
    return _Rules(
        idioms=_read_idioms(folder / "idioms.txt"),
        table=[(coda[0], re.compile(coda), result) for coda, result, _ in utils.parse_table() if coda[0] != "\ufeff"],
        special=[getattr(special, name) for name in SPECIAL_RULES],
        linking=[getattr(regular, name) for name in LINKING_RULES],
        annotate=utils.annotate,
        native_nouns=numerals.BOUND_NOUNS,
        spell_number=numerals.process_num,
    )


def _import_alone(folder: Path, *names: str) -> list[ModuleType]:
    """Import modules of the package as if the package were empty; leave nothing of them in `sys.modules`."""
    imported_before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "g2pk2"}
    for name in imported_before:
        del sys.modules[name]
    package = ModuleType("g2pk2")
    package.__path__ = [str(folder)]
    sys.modules["g2pk2"] = package
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # unescaped patterns of 2023
            return [import_module(f"g2pk2.{name}") for name in names]
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "g2pk2"]:
            del sys.modules[name]
        sys.modules.update(imported_before)


def _read_idioms(path: Path) -> list[tuple[re.Pattern[str], str]]:
    """Read the words that no rule pronounces: lines of `written===spoken`, with comments after `#`."""
    idioms = []
    for line in path.read_text(encoding="utf-8").splitlines():
        written, separator, spoken = line.partition("#")[0].strip().partition("===")
        if separator:
            idioms.append((re.compile(written), spoken))
    return idioms
