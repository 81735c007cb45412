"""The model service in an envelope: recordings split, a voice trained, texts spoken.

    BASE=http://127.0.0.1:9880 KEY=... python model_service.py "A voice's name" https://example.org/recording.wav

What to train on may be an address, or a file, which is uploaded first. MODEL, LANGUAGE, EPOCHS, DEVICE, TEXT and
POLL_SECONDS come from the environment, too. Needs httpx.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx

BASE = os.environ.get("BASE", "http://127.0.0.1:9880")
KEY = os.environ.get("KEY", "")
MODEL = os.environ.get("MODEL", "nano")
LANGUAGE = os.environ.get("LANGUAGE", "en")
EPOCHS = int(os.environ.get("EPOCHS", "4"))
DEVICE = os.environ.get("DEVICE", "cuda")
TEXT = os.environ.get("TEXT", "This voice was trained a moment ago.")
POLL_SECONDS = float(os.environ.get("POLL_SECONDS", "5"))
ENDED = ("completed", "failed", "cancelled")


class ServiceError(Exception):
    """An error of the service: its code and its message."""


class Client:
    """A client of the service at an address. Every method returns what is in the envelope."""

    def __init__(self, base_url: str, key: str = "") -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.http = httpx.Client(base_url=base_url, headers=headers, timeout=httpx.Timeout(60, read=600))

    def split_dataset(
        self, input_path: str, output_path: str, train_ratio: float = 0.7, val_ratio: float = 0.2
    ) -> dict[str, Any]:
        ratios = {"train_ratio": train_ratio, "val_ratio": val_ratio}
        return self._post("/preprocessing/split", {"input_path": input_path, "output_path": output_path, **ratios})

    def augment_dataset(self, dataset_path: str, output_path: str, methods: list[str]) -> dict[str, Any]:
        body = {"dataset_path": dataset_path, "output_path": output_path, "methods": methods}
        return self._post("/preprocessing/augment", body)

    def crop_images(self, input_path: str, output_path: str, x: int, y: int, width: int, height: int) -> dict[str, Any]:
        """Keep `width` milliseconds from `x` on; `y` and `height` mean nothing for sound."""
        area = {"x": x, "y": y, "width": width, "height": height}
        return self._post("/preprocessing/crop", {"input_path": input_path, "output_path": output_path, **area})

    def start_training(self, **request: Any) -> dict[str, Any]:
        return self._post("/training/start", request)

    def get_task(self, task_id: str) -> dict[str, Any]:
        return self._data(self.http.get(f"/api/v2/tasks/{task_id}"))

    def stream_training_logs(self, task_id: str) -> Iterator[dict[str, Any]]:
        with self.http.stream("GET", f"/api/v2/training/{task_id}/logs", timeout=httpx.Timeout(60, read=None)) as lines:
            for line in lines.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line[5:])

    def start_inference(
        self, cfg_path: str, weight_path: str, source_path: str, device: str = "cuda"
    ) -> dict[str, Any]:
        voice = {"cfg_path": cfg_path, "weight_path": weight_path, "device": device}
        return self._post("/inference/start", {**voice, "source_path": source_path})

    def start_batch_inference(
        self, cfg_path: str, weight_path: str, source_paths: list[str], device: str = "cuda"
    ) -> dict[str, Any]:
        voice = {"cfg_path": cfg_path, "weight_path": weight_path, "device": device}
        return self._post("/inference/batch", {**voice, "source_paths": source_paths})

    def get_gpu_info(self) -> dict[str, Any]:
        return self._data(self.http.get("/api/v2/resources/gpu"))

    def get_resources(self) -> dict[str, Any]:
        return self._data(self.http.get("/api/v2/resources"))

    def get_all_tasks(self) -> dict[str, Any]:
        return self._data(self.http.get("/api/v2/tasks"))

    def cancel_task(self, task_id: str) -> dict[str, Any]:
        return self._data(self.http.post(f"/api/v2/tasks/{task_id}/cancel"))

    def delete_task(self, task_id: str) -> dict[str, Any]:
        return self._data(self.http.delete(f"/api/v2/tasks/{task_id}"))

    def upload(self, path: str) -> str:
        with open(path, "rb") as audio:
            response = self.http.post("/api/v1/files", files={"file": audio})
        response.raise_for_status()
        return str(response.json()["id"])

    def wait(self, task_id: str) -> dict[str, Any]:
        """Poll until the task has ended, and print what is new."""
        while (status := self.get_task(task_id))["status"] not in ENDED:
            print(f"{status['status']} {status['progress']} % epoch {status.get('current_epoch', '-')}")
            time.sleep(POLL_SECONDS)
        if status["status"] != "completed":
            raise ServiceError(f"{status['task_type']} {status['status']}: {status['message']}")
        return status

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._data(self.http.post(f"/api/v2{path}", json=body))

    def _data(self, response: httpx.Response) -> dict[str, Any]:
        body = response.json()
        if response.is_error:
            raise ServiceError(f"{body['code']}: {body['msg']}")
        data: dict[str, Any] = body["data"]
        return data

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()


def main(name: str, source: str) -> None:
    with Client(BASE, KEY) as client:
        run(client, name, source)


def run(client: Client, name: str, source: str) -> None:
    gpu_info = client.get_gpu_info()
    print("GPUs:", gpu_info["count"])
    for device in gpu_info["devices"]:
        print(device["id"], device["name"], device["free_memory_gb"], "GB free", device["current_tasks"])
    print("limits:", client.get_resources()["limits"])

    path = source if "://" in source else client.upload(source)
    split = client.wait(client.split_dataset(path, f"data/{name}", 0.9, 0.1)["task_id"])

    training = client.start_training(
        model=MODEL,
        num_classes=1,
        train_path=split["dataset_id"],
        val_path=split["dataset_id"],
        save_path=f"models/{name}",
        num_epochs=EPOCHS,
        device=DEVICE,
        language=LANGUAGE,
    )
    print("training", training["task_id"], "on", training["device"], *training.get("warnings", []))
    for log in client.stream_training_logs(training["task_id"]):
        metrics = log.get("metrics") or {}
        loss = f" loss {metrics['train_loss']:.3f}" if metrics.get("train_loss") is not None else ""
        print(f"  [{log['level']}] {log['message']}{loss}")
    voice = client.wait(training["task_id"])["voice_id"]

    speech = client.wait(client.start_inference(voice, voice, TEXT, DEVICE)["task_id"])["res"]
    with open("speech.wav", "wb") as file:
        file.write(client.http.get(speech["audio_url"]).raise_for_status().content)
    print("speech.wav", os.path.getsize("speech.wav"), "bytes,", speech["duration_seconds"], "s")

    batch = client.start_batch_inference(voice, voice, ["One.", "Two."], DEVICE)
    for task_id in batch["task_ids"]:
        client.wait(task_id)
    tasks = client.get_all_tasks()
    print("trainings:", tasks["total_training"], "inferences:", tasks["total_inference"])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except ServiceError as error:
        sys.exit(str(error))
