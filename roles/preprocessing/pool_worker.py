"""The program of one process of a pool: `python -m roles.preprocessing.pool_worker`.

It reads a plan as JSON from its standard input and reports the result of each file, then that it is done.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import orjson
from typing_extensions import TypedDict

from common.program_name import program_name
from core.child_process import EventWriter
from core.errors import MissingPart, SovitsError
from roles.preprocessing.file_operations import OPERATIONS, ExecutionOptions, map_files
from roles.runtime.errors import error_report, model_errors
from roles.runtime.storage_errors import storage_faults


class WorkerPlan(TypedDict):
    """What one process of a pool does."""

    operation: str
    """Name in OPERATIONS."""
    options: dict[str, Any]
    """Fields of the operation."""
    files: list[tuple[int, str]]
    """(index, path) of its partition."""
    device: str
    threads: int
    folder: str
    """The experiment's folder, whose disk is examined when something cannot be written."""


def main() -> int:
    """Do the plan and return the exit code; an unexpected error ends on standard error, with code 1."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    events = EventWriter()
    plan: WorkerPlan = orjson.loads(sys.stdin.buffer.read())
    try:
        with model_errors(), storage_faults(Path(plan["folder"])):
            if plan["device"] == "cuda":
                check_gpu()
            operation = OPERATIONS[plan["operation"]](**plan["options"])
            paths = [Path(path) for _, path in plan["files"]]
            results = map_files(operation, paths, ExecutionOptions(plan["device"], plan["threads"]))
            for (index, _), result in zip(plan["files"], results, strict=True):
                events.write({"event": "result", "index": index, "result": result})
    except SovitsError as error:
        events.write({"event": "error", **error_report(error)})
        return 0
    events.write({"event": "done"})
    return 0


def check_gpu() -> None:
    """Raise MissingPart unless torch can use the GPU."""
    import torch

    if not torch.cuda.is_available():
        name = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        raise MissingPart(
            f"The GPU {name} cannot be used.", hint=f"`{program_name()} doctor` shows the GPUs of this host."
        )


if __name__ == "__main__":
    sys.exit(main())
