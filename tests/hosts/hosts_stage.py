"""Hosts that share a queue, a database and a bucket, each with a data folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from scripts.demo_daemon import REPOSITORY, descendants

SOON = 600.0
"""Seconds that anything may take on a busy machine."""


@dataclass(frozen=True)
class Shared:
    """What all hosts share, as their settings name it."""

    redis_url: str
    database_url: str
    storage_url: str

    def environment(self) -> dict[str, str]:
        return {
            "REDIS_URL": self.redis_url,
            "DATABASE_URL": self.database_url,
            "STORAGE_URL": self.storage_url,
            "PORT": "0",
            "HOST": "127.0.0.1",
            "LEASE_SECONDS": "8",
            "EVALUATION_SENTENCES": "0",
        }


class Host:
    """`main.py serve` on a data folder of its own."""

    def __init__(self, folder: Path, shared: Shared) -> None:
        self.folder = folder
        self.shared = shared
        self.log = folder / "host.log"

    def start(self, *options: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "DATA_PATH": str(self.folder), **self.shared.environment()}
        for name in ("API_PORT", "REDIS_HOST", "VALID_API_KEYS"):
            environment.pop(name, None)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "main.py", "serve", *options],
                cwd=REPOSITORY,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def url(self) -> str:
        """Where its API listens, once it does."""
        announcement = self.folder / "run" / "api.json"
        return str(orjson.loads(wait_until(lambda: announcement.exists() and announcement.read_bytes()))["url"])

    def has(self, pid: int) -> bool:
        return pid in descendants(self.process.pid)

    def lose_power(self) -> None:
        """Every process at once, without a word."""
        for pid in descendants(self.process.pid):
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.lose_power()

    def says(self, words: str) -> bool:
        return words in self.log.read_text(errors="replace")


def wait_until(condition: Callable[[], Any], seconds: float = SOON, every: float = 0.05) -> Any:
    """Return what `condition` answers, once it is something."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain"
        time.sleep(every)
    return answer
