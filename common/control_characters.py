"""Characters that a name must not have and that a line of a log or a terminal shows escaped."""

from __future__ import annotations

import re
from typing import Final

CONTROL_CHARACTERS: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]",
)
"""What could end a line, move a terminal's cursor or reverse the text, and lone surrogates, which cannot be encoded."""


def escape_control_characters(text: str) -> str:
    """Return a text in which control characters are escapes such as `\\n`, so that it stays one line."""
    return CONTROL_CHARACTERS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
