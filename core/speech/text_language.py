"""The languages that the letters of a text are of: a guess by script, for the choice of a voice."""

from __future__ import annotations

import re
from typing import Final

from common.languages import single_language

_SCRIPTS: Final = (("ja", re.compile("[ぁ-ヿ]")), ("ko", re.compile("[가-힣ᄀ-ᇿ]")), ("zh", re.compile("[㐀-鿿]")))

_LATIN: Final = re.compile("[A-Za-zÀ-ÖØ-öø-ɏ]")
_OTHER_LETTERS: Final = re.compile("[ぁ-ヿ가-힣ᄀ-ᇿ㐀-鿿]")


def guess_language(text: str) -> str:
    """Return ja, ko or zh by the first of their scripts that is in the text; en for any other text."""
    return next((language for language, letters in _SCRIPTS if letters.search(text)), "en")


def languages_of(text: str, code: str) -> tuple[str, ...]:
    """Return the languages in which a text is read under the code of a language; none where it has no letters."""
    latin = ("en",) if _LATIN.search(text) else ()
    if single := single_language(code):
        return tuple(dict.fromkeys((*latin, single))) if single == "en" or _OTHER_LETTERS.search(text) else latin
    scripts = {language for language, letters in _SCRIPTS if letters.search(text)}
    if code == "auto_yue" and "zh" in scripts:
        scripts = scripts - {"zh"} | {"yue"}
    elif {"ja", "zh"} <= scripts:
        scripts -= {"zh"}  # kana stand between the ideographs
    return (*latin, *sorted(scripts))
