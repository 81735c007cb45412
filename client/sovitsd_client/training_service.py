"""The client of the eleven-step training service: a task, its files, one step after the other."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from sovitsd_client.errors import ApiError, WaitTimeoutError
from sovitsd_client.records import ENDED
from sovitsd_client.requests import idempotency_headers, path_of
from sovitsd_client.sync_client import Sovitsd

STEPS: Final = (
    "convert_audio",
    "slice_audio",
    "denoise_audio",
    "asr_transcribe",
    "extract_text_features",
    "extract_audio_features",
    "extract_speaker_vectors",
    "extract_semantic_features",
    "train_sovits",
    "train_gpt",
    "test_inference",
)
"""In their order."""


class TrainingClient:
    """The service at an address. A step that is rejected shows in the task, as one that fails does."""

    def __init__(self, base_url: str | None = None, api_key: str | None = None, *, poll_seconds: float = 10.0) -> None:
        self.poll_seconds = poll_seconds
        self.server = Sovitsd(base_url, api_key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.close()

    def create_task(self, task_name: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """Make a task; nothing runs yet."""
        body = {"task_name": task_name, "config": dict(config)}
        return self.server.json("POST", "/api/v1/task/create", json=body, headers=idempotency_headers())

    def upload_audio(self, task_id: str, path: str | Path) -> dict[str, Any]:
        """Upload a recording of a task."""
        with open(path, "rb") as audio:
            files = {"file": (Path(path).name, audio)}
            return self.server.json("POST", path_of("/api/v1/task/{}/files/upload", task_id), files=files)

    def execute_step(self, task_id: str, step: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask for a step and return the response; for a rejected one, what the task says of it."""
        body = {"params": dict(params or {})}
        try:
            return self.server.json("POST", path_of("/api/v1/task/{}/step/{}", task_id, step), json=body)
        except ApiError as error:
            if error.status not in (400, 422):
                raise
            task = self.get_task_status(task_id)
            return {"task_id": task_id, "step": step, "status": task["status"], "message": error.message}

    def get_task_status(self, task_id: str) -> dict[str, Any]:
        """Return a task as it is now."""
        return self.server.json("GET", path_of("/api/v1/task/{}", task_id))

    def wait_for_completion(self, task_id: str, timeout: float = 3600) -> dict[str, Any]:
        """Wait until the step is completed, failed or cancelled, and return the task.

        Raise WaitTimeoutError, a TimeoutError, after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while (task := self.get_task_status(task_id))["status"] not in ENDED:
            left = deadline - time.monotonic()
            if left <= 0:
                raise WaitTimeoutError(f"{task['current_step']} of {task_id} takes more than {timeout:g} s.")
            time.sleep(min(self.poll_seconds, left))
        return task

    def download(self, task_id: str, filename: str, target: str | Path) -> None:
        """Write a file of a task to `target`."""
        path = path_of("/api/v1/task/{}/files/download/{}", task_id, filename)
        with self.server.open("GET", path) as response, open(target, "wb") as file:
            for block in response.iter_bytes():
                file.write(block)
