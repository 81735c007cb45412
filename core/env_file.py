"""What in a `.env` file has no effect: names that are no setting, and lines that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dotenv.parser import parse_stream

from common.program_name import program_name
from core.settings import Settings

ACCEPTED: Final = {
    "MODEL_PATH": "official weights are looked for in MODELS_PATH, by default DATA_PATH/models "
    f"({program_name()} download)",
    "TEMP_AUDIO_DIR": "sentences lie under DATA_PATH",
    "TEMP_VOICE_DIR": "fetched recordings lie under DATA_PATH",
    "VERSION": "GET /api/v1/info tells the installed version",
    "DEBUG": "LOG_LEVEL=DEBUG logs more",
    "CPU_TRAINING_OPENCV_THREADS": "nothing computes with OpenCV",
    "GPT_SOVITS_SERVER_MODE": "the service always runs by itself",
}
"""Settings of other servers that are understood and not used, with what is done instead."""


def setting_names() -> frozenset[str]:
    """Return every name that sets something, in capitals."""
    names = {name.upper() for name in Settings.model_fields}
    for field in Settings.model_fields.values():
        choices = getattr(field.validation_alias, "choices", ())
        names |= {str(choice).upper() for choice in choices}
    return frozenset(names)


def notes_on_env_file(path: Path) -> Iterator[str]:
    """Yield a sentence for each line of the file that has no effect; values are not repeated, they may be secret."""
    if not path.is_file():
        return
    names = setting_names()
    with path.open(encoding="utf-8", errors="replace") as file:
        for binding in parse_stream(file):
            key = (binding.key or "").upper()
            if binding.error:
                yield f"{path.name}, line {binding.original.line}: this line cannot be read."
            elif not key:
                continue  # a comment or an empty line
            elif key in ACCEPTED:
                yield f"{binding.key} in {path.name} is not used: {ACCEPTED[key]}."
            elif key not in names:
                yield f"{binding.key} in {path.name} is no setting and has no effect; env.example lists all."
            elif binding.value is None:
                yield f"{binding.key} in {path.name} has no value and is not read: write {binding.key}=…"
