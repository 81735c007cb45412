"""What every training program is around its loop: arguments in, JSON lines out, an exit code that says how it ended.

Standard output carries JSON lines and nothing else (`progress`, `epoch`, `checkpoint`, `begins_anew`, `done`,
`error`); the log goes to standard error. SIGTERM saves a state after the current step and exits with 75; the same
command goes on. SIGUSR1 ends the training with the epoch that it is in, whose checkpoint is then its last.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.training.control import TrainingControl

logger = logging.getLogger(__name__)

DONE, FAILED, STOPPED_TO_RESUME = 0, 1, 75


class Training(Protocol):
    """One stage's training, planned and not yet begun."""

    def fit(self) -> bool:
        """Train to the end; False when it was stopped and saved its state."""

    def finish(self) -> None:
        """Write the voice's weights and tell where they are."""

    def draw(self) -> None:
        """Leave pictures for people."""


Begin = Callable[[Path, Callable[..., None], TrainingControl], Training]
"""(RUN.json, `emit`, what may be asked of it) -> the training. It loads torch, which takes seconds."""

NO_MEMORY = ("not enough memory", "can't allocate memory", "cannot allocate memory", "out of memory", "bad_alloc")
"""How torch's allocators put it in a RuntimeError, in small letters."""


def run_program(module: str, arguments: list[str], begin: Begin) -> int:
    """Run one plan to its end; the exit code says how it ended."""
    # Of several processes that torchrun started, the first one tells what all of them would.
    level = logging.INFO if os.environ.get("RANK", "0") == "0" else logging.ERROR
    logging.basicConfig(stream=sys.stderr, level=level, format="%(levelname)s %(message)s")
    control = TrainingControl()
    # Before torch is loaded: a signal in those seconds must already find its handler.
    signal.signal(signal.SIGTERM, lambda *_: control.set())
    signal.signal(signal.SIGUSR1, lambda *_: control.after_epoch.set())
    if len(arguments) != 1:
        print(f"usage: python -m {module} RUN.json", file=sys.stderr)
        return FAILED
    try:
        training = begin(Path(arguments[0]), emit, control)
        if not training.fit():
            return STOPPED_TO_RESUME
        training.finish()
        training.draw()
    except ModelError as error:
        logger.error("%s %s", error.message, error.hint)
        emit("error", code=error.code, message=error.message, hint=error.hint, permanent=error.permanent)
        return FAILED
    except Exception as error:
        logger.exception("The training failed.")
        out_of_memory = is_out_of_memory(error)
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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was refused, by a GPU, by torch on a processor, or by Python itself."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in NO_MEMORY)


def _leave_the_group() -> None:
    """Part from the other processes of a distributed training; a plan that was refused never loaded what joins them."""
    distributed = sys.modules.get("GPT_SoVITS.training.distributed")
    if distributed is not None:
        distributed.destroy_process_group()


def emit(event: str, **fields: Any) -> None:
    """One JSON line on standard output."""
    print(json.dumps({"event": event, **fields}), flush=True)
