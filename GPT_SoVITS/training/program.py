"""What every training program is around its loop: arguments in, JSON lines out, an exit code that says how it ended.

Standard output carries JSON lines and nothing else (`progress`, `checkpoint`, `done`, `error`); the log goes
to standard error. SIGTERM saves a state after the current step and exits with 75; the same command goes on.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from GPT_SoVITS.errors import ModelError

logger = logging.getLogger(__name__)

DONE, FAILED, STOPPED_TO_RESUME = 0, 1, 75


class Training(Protocol):
    """One stage's training, planned and not yet begun."""

    def fit(self) -> bool:
        """Train to the end; False when it was stopped and saved its state."""

    def finish(self) -> None:
        """Write the voice's weights and tell where they are."""


Begin = Callable[[Path, Callable[..., None], threading.Event], Training]
"""(RUN.json, `emit`, the event that asks to stop) -> the training. It loads torch, which takes seconds."""


def run_program(module: str, arguments: list[str], begin: Begin) -> int:
    """Run one plan to its end; the exit code says how it ended."""
    # Of several processes that torchrun started, the first one tells what all of them would.
    level = logging.INFO if os.environ.get("RANK", "0") == "0" else logging.ERROR
    logging.basicConfig(stream=sys.stderr, level=level, format="%(levelname)s %(message)s")
    stop = threading.Event()
    # Before torch is loaded: a SIGTERM in those seconds must already find its handler.
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    if len(arguments) != 1:
        print(f"usage: python -m {module} RUN.json", file=sys.stderr)
        return FAILED
    try:
        training = begin(Path(arguments[0]), emit, stop)
        if not training.fit():
            return STOPPED_TO_RESUME
        training.finish()
    except ModelError as error:
        logger.error("%s %s", error.message, error.hint)
        emit("error", code=error.code, message=error.message, hint=error.hint, permanent=error.permanent)
        return FAILED
    except Exception as error:
        logger.exception("The training failed.")
        out_of_memory = type(error).__name__ == "OutOfMemoryError"
        emit(
            "error",
            code="out_of_memory" if out_of_memory else "training_failed",
            message=f"The training failed: {type(error).__name__}: {error}",
            hint="A smaller batch needs less memory." if out_of_memory else "",
            permanent=out_of_memory,
        )
        return FAILED
    finally:
        _leave_the_group()
    return DONE


def _leave_the_group() -> None:
    """Part from the other processes of a distributed training; a plan that was refused never loaded what joins them."""
    distributed = sys.modules.get("GPT_SoVITS.training.distributed")
    if distributed is not None:
        distributed.leave()


def emit(event: str, **fields: Any) -> None:
    """One JSON line on standard output."""
    print(json.dumps({"event": event, **fields}), flush=True)
