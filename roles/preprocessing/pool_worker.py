"""The program of one process that does its share of a stage: `python -m roles.preprocessing.pool_worker`.

It reads what to do as JSON from its standard input and writes a line of JSON for each file, then `{"done": true}`.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import IO, Any

import orjson

from core.errors import MissingPart, PermanentError, SovitsError
from roles.preprocessing.file_tasks import Means, do_each
from roles.runtime.errors import model_errors
from roles.runtime.storage_errors import storage_faults


def main() -> int:
    """Do the share; the exit code. What a fault of its own raises ends on standard error, with code 1."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    plan = orjson.loads(sys.stdin.buffer.read())
    try:
        with model_errors(), storage_faults(Path(plan["folder"])):
            work(plan, answers)
    except SovitsError as error:
        said = {**error.as_dict(), "permanent": isinstance(error, PermanentError)}
        answers.write(orjson.dumps({"error": said}) + b"\n")
        return 0
    answers.write(b'{"done": true}\n')
    return 0


def work(plan: dict[str, Any], answers: IO[bytes]) -> None:
    """Every file of the plan, in order."""
    if plan["device"] == "cuda":
        _need_gpu()
    numbers, paths = [number for number, _ in plan["files"]], [Path(path) for _, path in plan["files"]]
    done = do_each(plan["work"], paths, plan["options"], Means(plan["device"], plan["threads"]))
    for number, answer in zip(numbers, done, strict=True):
        answers.write(orjson.dumps({"file": number, "answer": answer}) + b"\n")


def _need_gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        name = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        raise MissingPart(f"The GPU {name} cannot be used.", hint="`main.py doctor` shows the GPUs of this host.")


if __name__ == "__main__":
    sys.exit(main())
