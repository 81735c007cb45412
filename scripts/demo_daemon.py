"""The daemon as the demo runs it: a child of its own data folder, whose processes' memory is watched."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import httpx
import orjson

from common.programs import bound_command, product_command

REPOSITORY = Path(__file__).resolve().parent.parent
START_SECONDS = 120
STOP_SECONDS = 60


class Daemon:
    """`main.py serve` on a free port, from entering the block to leaving it."""

    def __init__(self, data: Path, log: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data = data
        self.log = log
        self.settings = dict(settings or {})
        self.url = ""
        self._peak: dict[str, float] = {}
        self._idle: dict[str, float] = {}
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch_memory, daemon=True)

    def __enter__(self) -> Daemon:
        environment = os.environ | {"DATA_PATH": str(self.data), "PORT": "0", "HOST": "127.0.0.1"}
        for name in ("API_PORT", "REDIS_URL", "REDIS_HOST", "DATABASE_URL", "STORAGE_URL", "VALID_API_KEYS"):
            environment.pop(name, None)
        environment |= self.settings
        with self.log.open("wb") as log:
            # It ends with this process, also when that is killed.
            command = bound_command(product_command("serve"))
            self.process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
        try:
            self.url = self._wait_until_ready()
        except BaseException:
            self._stop()
            raise
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._stop()

    def memory(self) -> tuple[dict[str, float], dict[str, float]]:
        """Resident MiB of each process, now and at its peak, by the name of what it runs."""
        return dict(self._idle), dict(self._peak)

    def _wait_until_ready(self) -> str:
        announcement = self.data / "run" / "api.json"
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            if announcement.exists():
                url = str(orjson.loads(announcement.read_bytes())["url"])
                try:
                    if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                        return url
                except httpx.TransportError:
                    pass  # not listening yet: asked again until the deadline
            time.sleep(0.1)
        raise SystemExit(f"The daemon did not come up. Its log ends:\n{self.log.read_text()[-2000:]}")

    def _stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise SystemExit("The daemon did not stop when it was asked to.") from None

    def _watch_memory(self) -> None:
        while not self._ended.wait(0.5):
            self._idle = {}
            for pid in descendants(self.process.pid):
                name = process_name(pid)
                peak, now = resident_mib(pid, "VmHWM"), resident_mib(pid, "VmRSS")
                if name and peak:
                    self._peak[name] = max(self._peak.get(name, 0.0), peak)
                    self._idle[name] = now


def descendants(pid: int) -> list[int]:
    """Return a process and all that it started, directly or not."""
    pids, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        pids.append(current)
        try:
            for thread in Path(f"/proc/{current}/task").iterdir():
                waiting += [int(child) for child in (thread / "children").read_text().split()]
        except OSError:
            continue  # it ended while it was looked at
    return pids


def process_name(pid: int) -> str:
    """`synthesizer`, `api`, `train` … from a command line."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return ""
    if "work" in words:
        return words[words.index("work") + 1]
    for word in words:
        if word.startswith("GPT_SoVITS."):
            return word.removeprefix("GPT_SoVITS.")
        if word in ("serve", "api"):
            return {"serve": "supervisor", "api": "api"}[word]
        if word.startswith("core.media"):
            return "media child"
    program = Path(words[0]).name.split()
    return program[0].rstrip(":") if program else ""  # nothing is left of a process that has ended


def resident_mib(pid: int, field: str) -> float:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field):
                return round(int(line.split()[1]) / 1024, 1)
    except OSError:
        return 0.0
    return 0.0
