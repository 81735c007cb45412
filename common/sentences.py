"""Sentences of messages."""

from __future__ import annotations

from typing import Final

_ENDS: Final = (".", "!", "?", ":", "…", "。", "！", "？")


def join_sentences(message: str, hint: str) -> str:
    """Return a message and a hint as one text, with a full stop between them where the message has none."""
    if not message or not hint:
        return message or hint
    return f"{message}{'' if message.endswith(_ENDS) else '.'} {hint}"
