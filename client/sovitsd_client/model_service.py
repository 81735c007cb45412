"""The client of the model service, whose responses come in an envelope: every method returns what is in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from sovitsd_client.requests import path_of
from sovitsd_client.sync_client import Sovitsd


class Client:
    """The service at an address."""

    def __init__(self, base_url: str | None = None, api_key: str | None = None) -> None:
        self.server = Sovitsd(base_url, api_key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.close()

    def split_dataset(
        self, input_path: str, output_path: str, train_ratio: float = 0.7, val_ratio: float = 0.2
    ) -> dict[str, Any]:
        """Divide recordings into training, validation and test."""
        ratios = {"train_ratio": train_ratio, "val_ratio": val_ratio}
        return self._post("/preprocessing/split", input_path=input_path, output_path=output_path, **ratios)

    def augment_dataset(self, dataset_path: str, output_path: str, methods: Sequence[str]) -> dict[str, Any]:
        """Add changed copies of recordings."""
        body = {"dataset_path": dataset_path, "output_path": output_path, "methods": list(methods)}
        return self._post("/preprocessing/augment", **body)

    def crop_images(self, input_path: str, output_path: str, x: int, y: int, width: int, height: int) -> dict[str, Any]:
        """Keep `width` milliseconds from `x` on; `y` and `height` mean nothing for audio."""
        area = {"x": x, "y": y, "width": width, "height": height}
        return self._post("/preprocessing/crop", input_path=input_path, output_path=output_path, **area)

    def start_training(self, **request: Any) -> dict[str, Any]:
        """Begin a training; `request` has the fields of the service's TrainingRequest."""
        return self._post("/training/start", **request)

    def get_task(self, task_id: str) -> dict[str, Any]:
        """Return a task of any type as it is now."""
        return self._data("GET", path_of("/api/v2/tasks/{}", task_id))

    def stream_training_logs(self, task_id: str) -> Iterator[dict[str, Any]]:
        """Yield the lines of a training's log until it has ended."""
        with self.server.open("GET", path_of("/api/v2/training/{}/logs", task_id)) as response:
            for line in response.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line[5:])

    def start_inference(
        self, cfg_path: str, weight_path: str, source_path: str, device: str = "cuda"
    ) -> dict[str, Any]:
        """Speak a text; `cfg_path` is the voice."""
        voice = {"cfg_path": cfg_path, "weight_path": weight_path, "device": device}
        return self._post("/inference/start", source_path=source_path, **voice)

    def start_batch_inference(
        self, cfg_path: str, weight_path: str, source_paths: Sequence[str], device: str = "cuda"
    ) -> dict[str, Any]:
        """Speak several texts, a task each."""
        voice = {"cfg_path": cfg_path, "weight_path": weight_path, "device": device}
        return self._post("/inference/batch", source_paths=list(source_paths), **voice)

    def get_gpu_info(self) -> dict[str, Any]:
        """Return the GPUs and what they have free."""
        return self._data("GET", "/api/v2/resources/gpu")

    def get_resources(self) -> dict[str, Any]:
        """Return what runs on each device, and the limits."""
        return self._data("GET", "/api/v2/resources")

    def get_all_tasks(self) -> dict[str, Any]:
        """Return all trainings and inferences."""
        return self._data("GET", "/api/v2/tasks")

    def cancel_task(self, task_id: str) -> dict[str, Any]:
        """Stop a task; `status` of the result is `error` for one that has ended."""
        return self._data("POST", path_of("/api/v2/tasks/{}/cancel", task_id))

    def delete_task(self, task_id: str) -> dict[str, Any]:
        """Stop and delete a task."""
        return self._data("DELETE", path_of("/api/v2/tasks/{}", task_id))

    def _post(self, path: str, **body: Any) -> dict[str, Any]:
        return self._data("POST", f"/api/v2{path}", json=body)

    def _data(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        data: dict[str, Any] = self.server.json(method, path, **options)["data"]
        return data
