"""The language that the letters of a text are of: a guess by script, for the choice of a voice."""

from __future__ import annotations

import re
from typing import Final

_SCRIPTS: Final = (("ja", re.compile("[ぁ-ヿ]")), ("ko", re.compile("[가-힣ᄀ-ᇿ]")), ("zh", re.compile("[㐀-鿿]")))


def guess_language(text: str) -> str:
    """Return ja, ko or zh by the first of their scripts that is in the text; en for any other text."""
    return next((language for language, letters in _SCRIPTS if letters.search(text)), "en")
