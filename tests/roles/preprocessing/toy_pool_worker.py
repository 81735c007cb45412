"""The program of a process of a pool, with operations that only tests need."""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from GPT_SoVITS.errors import ModelError
from roles.preprocessing import pool_worker
from roles.preprocessing.file_operations import OPERATIONS, ExecutionOptions, FileOperation


@dataclass(frozen=True)
class Square(FileOperation):
    def load(self, execution: ExecutionOptions) -> Any:
        def process(path: Path) -> dict[str, int]:
            print("a library that prints")
            return {"square": int(path.read_text()) ** 2, "pid": os.getpid()}

        return process


@dataclass(frozen=True)
class Die(FileOperation):
    pids: str
    at: str

    def load(self, execution: ExecutionOptions) -> Any:
        note_pid(self.pids)

        def process(path: Path) -> dict[str, int]:
            if path.read_text() == self.at:
                os.kill(os.getpid(), signal.SIGKILL)
            return {}

        return process


@dataclass(frozen=True)
class Hang(FileOperation):
    pids: str
    on: str

    def load(self, execution: ExecutionOptions) -> Any:
        note_pid(self.pids)

        def process(path: Path) -> dict[str, int]:
            if path.read_text() == self.on:
                threading.Event().wait()
            return {}

        return process


@dataclass(frozen=True)
class Divide(FileOperation):
    def load(self, execution: ExecutionOptions) -> Any:
        return lambda path: {"quotient": 1 / int(path.read_text())}


@dataclass(frozen=True)
class Reject(FileOperation):
    def load(self, execution: ExecutionOptions) -> Any:
        raise ModelError("invalid_request", "No model can do this.", hint="Ask for something else.")


@dataclass(frozen=True)
class ReportEnvironment(FileOperation):
    def load(self, execution: ExecutionOptions) -> Any:
        return lambda path: {"gpu": os.environ["CUDA_VISIBLE_DEVICES"], "threads": os.environ["OMP_NUM_THREADS"]}


def note_pid(path: str) -> None:
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")


if __name__ == "__main__":
    pool_worker.check_gpu = lambda: None
    for operation in (Square, Die, Hang, Divide, Reject, ReportEnvironment):
        OPERATIONS[operation.__name__] = operation
    sys.exit(pool_worker.main())
