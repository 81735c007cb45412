"""The training program of stage 1: `python -m GPT_SoVITS.gpt.train RUN.json`.

Standard output carries JSON lines and nothing else (`progress`, `checkpoint`, `done`, `error`); the log goes
to standard error. SIGTERM saves a state after the current step and exits with 75; the same command goes on.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.plan import Plan

logger = logging.getLogger(__name__)

DONE, FAILED, STOPPED_TO_RESUME = 0, 1, 75


def main(arguments: list[str]) -> int:
    """Run one plan to its end; the exit code says how it ended."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    if len(arguments) != 1:
        print("usage: python -m GPT_SoVITS.gpt.train RUN.json", file=sys.stderr)
        return FAILED
    try:
        plan = Plan.read(Path(arguments[0]))
        # Torch takes seconds to load, in which a SIGTERM must already find its handler.
        from GPT_SoVITS.gpt.training import Training

        training = Training(plan, emit, stop)
        if not training.fit():
            return STOPPED_TO_RESUME
        training.finish()
    except ModelError as error:
        logger.error("%s %s", error.message, error.hint)
        emit("error", code=error.code, message=error.message, hint=error.hint, permanent=error.permanent)
        return FAILED
    except Exception as error:
        logger.exception("The training failed.")
        code = "out_of_memory" if type(error).__name__ == "OutOfMemoryError" else "training_failed"
        message = f"The training failed: {type(error).__name__}: {error}"
        hint = "A smaller batch needs less memory." if code == "out_of_memory" else ""
        emit("error", code=code, message=message, hint=hint, permanent=code == "out_of_memory")
        return FAILED
    return DONE


def emit(event: str, **fields: Any) -> None:
    """One JSON line on standard output."""
    print(json.dumps({"event": event, **fields}), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
