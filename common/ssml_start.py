"""How a text is recognized as SSML: it begins with `<speak`, behind an XML declaration or none."""

from __future__ import annotations

import re
from typing import Final

_START: Final = re.compile(r"[\ufeff\s]{0,99}(?:<\?xml[^<>]{0,200}>\s{0,99})?<speak[\s/>]")
_PART_OF_START: Final = re.compile(r"[\ufeff\s]{0,99}<(?:\?[^<>]{0,204}(?:>\s{0,99}(?:<[speak]{0,5})?)?|[speak]{0,5})$")


def is_ssml(text: str) -> bool:
    """Return whether a whole text is SSML."""
    return _START.match(text) is not None


def may_become_ssml(text: str) -> bool:
    """Return whether a text whose end is still to come is, or can become, SSML."""
    return is_ssml(text) or _PART_OF_START.match(text) is not None
