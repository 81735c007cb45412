"""The program that does a share, with works that only a test wants."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from roles.preprocessing.file_tasks import WORKS, Means, Work

from GPT_SoVITS.errors import ModelError
from roles.preprocessing import pool_worker as share


def square(options: dict[str, Any], means: Means) -> Work:
    def work(path: Path) -> dict[str, Any]:
        print("a library that prints")
        return {"square": int(path.read_text()) ** 2, "pid": os.getpid()}

    return work


def die(options: dict[str, Any], means: Means) -> Work:
    note(options)

    def work(path: Path) -> dict[str, Any]:
        if path.read_text() == options["at"]:
            os.kill(os.getpid(), signal.SIGKILL)
        return {}

    return work


def hang(options: dict[str, Any], means: Means) -> Work:
    note(options)

    def work(path: Path) -> dict[str, Any]:
        if path.read_text() == options["on"]:
            threading.Event().wait()
        return {}

    return work


def divide(options: dict[str, Any], means: Means) -> Work:
    return lambda path: {"quotient": 1 / int(path.read_text())}


def refuse(options: dict[str, Any], means: Means) -> Work:
    raise ModelError("invalid_request", "No model can do this.", hint="Ask for something else.")


def surroundings(options: dict[str, Any], means: Means) -> Work:
    return lambda path: {"gpu": os.environ["CUDA_VISIBLE_DEVICES"], "threads": os.environ["OMP_NUM_THREADS"]}


def note(options: dict[str, Any]) -> None:
    with open(options["pids"], "a") as file:
        file.write(f"{os.getpid()}\n")


share._need_gpu = lambda: None
for one in (square, die, hang, divide, refuse, surroundings):
    WORKS[one.__name__] = one  # type: ignore[index]
sys.exit(share.main())
