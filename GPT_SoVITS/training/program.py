"""What surrounds every training program: arguments in, JSON lines out, an exit code that says how it ended.

Standard output carries JSON lines and nothing else (`progress`, `epoch`, `checkpoint`, `begins_anew`, `done`,
`error`); the log goes to standard error. SIGTERM saves a state after the current step and exits with 75; the same
command resumes it. SIGUSR1 ends the training with the current epoch, whose checkpoint is then its last.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.operating_system import USER_SIGNAL
from GPT_SoVITS.errors import ModelError, is_out_of_memory
from GPT_SoVITS.training import rank_environment
from GPT_SoVITS.training.control import TrainingControl

if TYPE_CHECKING:
    from GPT_SoVITS.training.trainer import BaseTrainer, Emit

    CreateTrainer = Callable[[Path, Emit, TrainingControl], BaseTrainer[Any]]
    """(RUN.json, events' receiver, stop requests) -> a trainer. It imports torch, which takes seconds."""

logger = logging.getLogger(__name__)

DONE, FAILED, STOPPED_TO_RESUME = 0, 1, 75


def run_program(usage: str, arguments: Sequence[str], create_trainer: CreateTrainer) -> int:
    """Run one training to its end and return the exit code.

    Args:
        usage: the command that is shown for wrong arguments.
        arguments: the path of the RUN.json.
        create_trainer: builds the trainer that the RUN.json describes.
    """
    # Of several processes, the main one logs what all of them would.
    level = logging.INFO if rank_environment.number_of(rank_environment.RANK, 0) == 0 else logging.ERROR
    logging.basicConfig(stream=sys.stderr, level=level, format="%(levelname)s %(message)s")
    control = TrainingControl()
    # Before torch is imported: a signal in those seconds must already find its handler.
    signal.signal(signal.SIGTERM, lambda *_: control.set())
    if USER_SIGNAL is not None:
        signal.signal(USER_SIGNAL, lambda *_: control.after_epoch.set())
    if len(arguments) != 1:
        print(f"usage: {usage}", file=sys.stderr)
        return FAILED
    try:
        trainer = create_trainer(Path(arguments[0]), emit, control)
        if not trainer.fit():
            return STOPPED_TO_RESUME
        trainer.finish()
        trainer.draw_losses()
    except ModelError as error:
        _report(error)
        return FAILED
    except Exception as error:
        out_of_memory = is_out_of_memory(error)
        _report(
            ModelError(
                "out_of_memory" if out_of_memory else "training_failed",
                f"The training failed: {type(error).__name__}: {error}",
                hint="A smaller batch needs less memory." if out_of_memory else "",
                permanent=out_of_memory,
            ),
            trace=traceback.format_exc(),
        )
        return FAILED
    finally:
        # A run that was rejected early never imported torch, and has joined no other process.
        distributed = sys.modules.get("GPT_SoVITS.training.distributed")
        if distributed is not None:
            distributed.destroy_process_group()
    return DONE


def _report(error: ModelError, *, trace: str = "") -> None:
    """Log an error and report it; one of several processes leaves both to their parent, which gets it with its time."""
    fields = {"code": error.code, "message": error.message, "hint": error.hint, "permanent": error.permanent}
    if rank_environment.REPORTED_BY_PARENT in os.environ:
        emit("error", **fields, trace=trace, at=time.monotonic())
        return
    logger.error("%s %s", error.message, error.hint)
    if trace:
        logger.error("%s", trace)
    emit("error", **fields)


def emit(event: str, /, **fields: object) -> None:
    """Write one JSON line to standard output."""
    print(json.dumps({"event": event, **fields}), flush=True)
