"""Imports a voice in children that kill themselves, each before another step: `killed_import.py ARGUMENTS OF MAIN …`.

One line of JSON for each child: where it died and by which signal. What one leaves, the next one finds.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from importlib import import_module
from typing import Any

from core.records.repositories.checkpoints import CheckpointRepository
from core.records.repositories.voices import VoiceRepository
from core.storage import Storage
from GPT_SoVITS.checkpoints import checkpoint_files
from main import main

STEPS: dict[str, tuple[Any, str]] = {
    "save_checkpoint": (checkpoint_files, "save_checkpoint"),
    "publish": (Storage, "publish"),
    "create_checkpoint": (CheckpointRepository, "create"),
    "create_voice": (VoiceRepository, "create"),
}
"""Step → where its function is, and its name there."""
DEATHS = [
    ("save_checkpoint", 2),
    ("create_checkpoint", 1),
    ("publish", 2),
    ("create_checkpoint", 1),
    ("create_voice", 1),
]
"""Which call of what is the last. What is recorded already is not recorded again, so the second first record that is
never made is that of the SoVITS."""
LOADED = (
    "GPT_SoVITS.pipeline",
    "GPT_SoVITS.text.mandarin.frontend",
    "alembic.command",
    "transformers.models.bert.modeling_bert",
    "transformers.models.hubert.modeling_hubert",
)
"""What an import loads, once for all children; nothing runs before them, for a fork takes no threads along."""


def die_before(step: str, count: int) -> None:
    owner, name = STEPS[step]
    function, calls = getattr(owner, name), 0

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **named)

    setattr(owner, name, counted)


if __name__ == "__main__":
    for heavy in LOADED:
        import_module(heavy)
    for step, count in DEATHS:
        child = os.fork()
        if child == 0:
            die_before(step, count)
            os._exit(main(sys.argv[1:]))
        status = os.waitpid(child, 0)[1]
        print(json.dumps({"step": step, "count": count, "signal": status & 127}), flush=True)
