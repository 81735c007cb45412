"""A daemon with the bundled voice, and clients that stream its speech."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
from daemon_stage import REPOSITORY, Daemon, Stage, until
from job_waiting import wait_for_job
from process_end import wait_for_end

from core.jobs.job import Job
from core.redis_server import read_embedded_url

SENTENCES = [
    f"This is sentence number {name} of a text that is read to somebody who listens to the end."
    for name in ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
]


class SpeakingDaemon(Daemon):
    """One that speaks: an API, a splitter and a synthesizer."""

    def __init__(self, folder: Path, stage: Stage) -> None:
        super().__init__(folder, stage)
        self.url = ""
        self.client = httpx.Client(timeout=120)

    def speak_up(self, **settings: str) -> None:
        """Start it, and wait until it is ready to speak."""
        roles = "splitter,synthesizer,files"
        self.start("--roles", roles, SOVITSD_ROLE_CLASSES="", NUM_FILE_WORKERS="1", ready=True, **settings)
        self.url = str(orjson.loads((self.folder / "run" / "api.json").read_bytes())["url"])

    def request(self, text: str, **more: Any) -> dict[str, Any]:
        return {
            "model": "nano",
            "voice": "allison",
            "input": text,
            "response_format": "pcm",
            "language": "en",
            "seed": 1,
            **more,
        }

    def speech(self, text: str, **more: Any) -> bytes:
        """Return all the bytes of a stream."""
        response = self.client.post(f"{self.url}/v1/audio/speech", json=self.request(text, **more))
        assert response.status_code == 200, response.text
        return response.content

    def worker_pid(self, role: str) -> int:
        """Return the pid of the process that runs a role."""
        return next(worker.pid for worker in self.queue.workers() if worker.role == role)

    def kill_worker(self, role: str) -> None:
        pid = self.worker_pid(role)
        os.kill(pid, signal.SIGKILL)
        assert wait_for_end(pid, 10)

    @property
    def redis(self) -> Any:
        return self.queue.transport.client

    @contextmanager
    def second_worker(self, role: str) -> Iterator[None]:
        """Have one more worker of a role at work inside the block."""
        before = len(self.queue.workers())
        environment = self.environment | {"REDIS_URL": read_embedded_url(self.folder / "redis")}
        process = subprocess.Popen([sys.executable, str(REPOSITORY / "main.py"), "work", role], env=environment)
        try:
            until(lambda: len(self.queue.workers()) > before, what="the second worker")
            yield
        finally:
            process.terminate()
            process.wait(60)

    def wait_for_end(self, job_id: str) -> Job:
        return wait_for_job(self.queue, job_id, timeout=60)

    def stored_audio(self, inference_id: str) -> list[Path]:
        """Return the files of an inference and of its utterances."""
        storage = self.folder / "storage"
        paths = storage.glob(f"*/{inference_id}*/*")
        return sorted(path for path in paths if path.is_file() and path.relative_to(storage).parts[0] != "logs")

    def close(self) -> None:
        self.client.close()
        super().close()


class Listener(threading.Thread):
    """A client that streams a text and keeps what it gets."""

    def __init__(self, daemon: SpeakingDaemon, text: str, **more: Any) -> None:
        super().__init__(daemon=True)
        self.audio = b""
        self.began = threading.Event()
        self.error: Exception | None = None
        self._url = f"{daemon.url}/v1/audio/speech"
        self._request = daemon.request(text, **more)
        self.start()

    def run(self) -> None:
        try:
            with httpx.stream("POST", self._url, json=self._request, timeout=120) as response:
                response.raise_for_status()
                for chunk in response.iter_raw():
                    self.audio += chunk
                    self.began.set()
        except Exception as error:
            self.error = error
        self.began.set()

    def has(self, length: int) -> bool:
        """Whether more than so many bytes have arrived."""
        return len(self.audio) > length

    def finished(self) -> bytes:
        """Wait for the end and return all bytes."""
        self.join(120)
        assert not self.is_alive()
        assert self.error is None, self.error
        return self.audio
