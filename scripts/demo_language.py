"""The languages of the demo: what its voice is trained from, and what it says."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common.repository import REPOSITORY

LOCALE_VARIABLES: Final = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
"""Environment variables with the language of messages, the first one that is set first, as in gettext."""


@dataclass(frozen=True, slots=True)
class DemoLanguage:
    """A recording in one language, and sentences that are not in it."""

    recording: Path
    sentences: tuple[str, ...]


DEMO_LANGUAGES: Final = {
    "en": DemoLanguage(
        REPOSITORY / "prompts" / "allison" / "recording.flac",
        (
            "The quick brown fox jumps over the lazy dog.",
            "We will meet at the old bridge when the rain has stopped.",
            "Every voice tells a story that nobody else can tell.",
        ),
    ),
    "zh": DemoLanguage(
        REPOSITORY / "prompts" / "xiaoyi" / "recording.flac",
        (
            "你好，很高兴认识你，这是我的新声音。",
            "等雨停了，我们就在老桥旁边见面。",
            "每一种声音里，都有一个别人讲不出的故事。",
        ),
    ),
}


def locale_language() -> str:
    """Return `zh` where the locale is Chinese, else `en`."""
    locale = next(filter(None, map(os.environ.get, LOCALE_VARIABLES)), "")
    return "zh" if locale.lower().startswith("zh") else "en"
