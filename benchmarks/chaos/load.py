"""Mixed load with accounts: every request has a key and is sent until it is accepted; an audit compares at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from benchmarks.chaos.accounts import INFERENCE, UPLOAD, Accounts
from benchmarks.chaos.service import VOICE, Service, wait_until
from common.storage_keys import uploaded_file
from core.errors import error_message
from core.redis import is_connection_error
from core.redis_server import read_embedded_url

SETTLE_SECONDS: Final = 300.0
"""For what was accepted to end, once there are no more faults."""
PAUSE_SECONDS: Final = 0.3
_TEXTS: Final = ("The number is not in service.", "Please hold the line.", "Thank you for calling.")


@dataclass
class MixedLoad:
    """Threads that infer, speak and upload until they are told to stop; a context manager."""

    service: Service
    accounts: Accounts
    _ending: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> MixedLoad:
        for key in list(self.accounts.open):  # an earlier run was interrupted while it sent these
            kind, _, number = key.partition("-")
            with httpx.Client(base_url=self.service.url, timeout=120) as client:
                (self._infer if kind == INFERENCE else self._upload)(client, int(number))
        for action in (self._infer, self._speak, self._speak, self._upload):
            thread = threading.Thread(target=self._repeat, args=(action,), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let the requests under way end, and send no more."""
        self._ending.set()
        for thread in self._threads:
            thread.join(SETTLE_SECONDS)
            if thread.is_alive():
                self.accounts.problem("a client never got an end")

    def audit(self) -> list[str]:
        """Return what does not add up now; wait first until everything that was accepted has ended."""
        wait_until(self._is_idle, SETTLE_SECONDS, "the end of what was accepted")
        problems: list[str] = []
        inferences, uploads = self.accounts.accepted[INFERENCE], self.accounts.accepted[UPLOAD]
        with httpx.Client(base_url=self.service.url, timeout=30) as client:
            for key, inference_id in inferences.items():
                view = client.get(f"/api/v1/inference/{inference_id}").json()
                if view.get("status") != "completed":
                    problems.append(f"{key} ({inference_id}) is {view.get('status') or view}")
            listed = client.get("/api/v1/files", params={"limit": 1}).json()["total"]
        if listed != len(uploads):
            problems.append(f"{listed} files are recorded, {len(uploads)} were uploaded")
        if len(set(uploads.values())) != len(uploads):
            problems.append("two uploads have one file")
        folder = (self.service.folder / "storage" / uploaded_file("any")).parent
        stored = [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
        if len(stored) != listed:
            problems.append(f"{len(stored)} files are stored, {listed} are recorded")
        return problems + self._audit_queue()

    def _audit_queue(self) -> list[str]:
        problems = []
        with self.service.queue() as queue:
            counters, depths = queue.counters(), queue.depths()
            ended = counters.get("done", 0) + counters.get("cancelled", 0) + counters.get("dead", 0)
            ended += counters.get("rejected", 0) - counters.get("replayed", 0)
            left = sum(depths.values()) - depths["dead"]
            if counters.get("submitted", 0) != ended + left:
                problems.append(f"submitted is not done + cancelled + dead + left: {counters}, {depths}")
            for letter in queue.dead_letters():
                problems.append(f"{letter.job_id} is a dead letter: {error_message(letter.error)}")
        return problems

    def _is_idle(self) -> bool:
        try:
            if not read_embedded_url(self.service.folder / "redis"):
                return False
            with self.service.queue() as queue:
                depths = queue.depths()
        except Exception as error:
            if not is_connection_error(error):
                raise
            return False
        return sum(depths.values()) == depths["dead"]

    def _repeat(self, action: Callable[[httpx.Client, int], None]) -> None:
        with httpx.Client(base_url=self.service.url, timeout=120) as client:
            while not self._ending.wait(PAUSE_SECONDS):
                action(client, self.accounts.next_number())

    def _persist(self, send: Callable[[], httpx.Response], what: str) -> httpx.Response | None:
        """Send a request again until it is accepted, as a client with a key may; None if it never is."""
        started = time.monotonic()
        outcomes: list[str] = []
        """What came of each attempt, and after how many seconds."""
        while time.monotonic() - started < SETTLE_SECONDS:
            try:
                response = send()
            except httpx.TransportError as error:
                outcomes.append(f"{type(error).__name__} {time.monotonic() - started:.0f}")
                self.accounts.count("broken connections")
            else:
                if response.status_code < 300:
                    return response
                outcomes.append(f"{response.status_code} {time.monotonic() - started:.0f}")
                self.accounts.count(f"status {response.status_code}")
                # 409: the first response to this key is still being made.
                if response.status_code not in (409, 500, 502, 503, 504):
                    self.accounts.problem(f"{what}: {response.status_code} {response.text[:200]}")
                    return None
                if response.status_code == 503 and "retry-after" not in response.headers:
                    self.accounts.problem(f"{what}: 503 without Retry-After: {response.text[:200]}")
            time.sleep(0.5)
        self.accounts.problem(f"{what} was never accepted: {', '.join(outcomes)}")
        return None

    def _infer(self, client: httpx.Client, number: int) -> None:
        key = f"{INFERENCE}-{number}"
        body = {"text": _TEXTS[number % len(_TEXTS)], "voice": VOICE}
        headers = {"Idempotency-Key": key}
        self.accounts.begin(key)
        response = self._persist(lambda: client.post("/api/v1/inference", json=body, headers=headers), key)
        self.accounts.end(key, "" if response is None else response.json()["id"])
        if response is not None:
            self.accounts.count("inferences")
            self._await_end(client, response.json()["id"])

    def _await_end(self, client: httpx.Client, inference_id: str) -> None:
        """Wait until an inference has ended, so that they do not pile up; the audit looks how."""
        while not self._ending.wait(PAUSE_SECONDS):
            try:
                response = client.get(f"/api/v1/inference/{inference_id}")
            except httpx.TransportError:
                continue
            if response.status_code == 200 and response.json()["completed_at"] is not None:
                return

    def _speak(self, client: httpx.Client, number: int) -> None:
        body = {"model": "nano", "voice": VOICE, "input": _TEXTS[number % len(_TEXTS)], "response_format": "wav"}
        response = self._persist(lambda: client.post("/v1/audio/speech", json=body), f"speech {number}")
        if response is not None:
            self.accounts.count("speeches")
            if len(response.content) < 5000:
                self.accounts.problem(f"speech {number} has {len(response.content)} bytes")

    def _upload(self, client: httpx.Client, number: int) -> None:
        key, recording = f"{UPLOAD}-{number}", Path("prompts/allison/prompt.wav").resolve()
        content, headers = recording.read_bytes(), {"Idempotency-Key": key}
        self.accounts.begin(key)
        response = self._persist(
            lambda: client.post("/api/v1/files", files={"file": (f"{key}.wav", content)}, headers=headers), key
        )
        self.accounts.end(key, "" if response is None else response.json()["id"])
        if response is not None:
            self.accounts.count("uploads")
