"""Limits of what a request may ask for."""

from __future__ import annotations

from typing import Final

MIN_SPEED: Final = 0.25
MAX_SPEED: Final = 4.0
"""Times the voice's own pace, of a request and of a passage in a text with markup."""

MAX_PRONUNCIATIONS: Final = 1000
"""Entries of a pronunciation dictionary."""
MAX_PRONUNCIATION_WORD_LENGTH: Final = 100
"""Characters of an entry's word."""
MAX_PRONUNCIATION_LENGTH: Final = 500
"""Characters of an entry's pronunciation."""
