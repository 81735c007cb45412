"""The roles by name and the Redis list each one's jobs wait in: what every process must agree on."""

from __future__ import annotations

from typing import Final

SPLITTER: Final = "splitter"
SYNTHESIZER: Final = "synthesizer"
PREPROCESSOR: Final = "preprocessor"
TRAINER: Final = "trainer"
FILES: Final = "files"

WAITING_LISTS: Final[dict[str, str]] = {
    SPLITTER: "splitter_tasks",
    SYNTHESIZER: "worker_tasks",
    PREPROCESSOR: "preprocess_tasks",
    TRAINER: "training_tasks",
    FILES: "file_tasks",
}
"""Role → list name, without the prefix."""
