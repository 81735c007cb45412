"""The eleven-step training service: make a task, upload the recordings, run the steps in order, poll until done.

    BASE=http://127.0.0.1:9880 KEY=... python eleven_steps.py "A voice's name" one.wav two.wav three.wav

VERSION, LANGUAGE, EPOCHS_S2, EPOCHS_S1, BATCH_SIZE and GPU_ID come from the environment, too. Needs nothing but Python.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

BASE = os.environ.get("BASE", "http://127.0.0.1:9880")
KEY = os.environ.get("KEY", "")
CONFIG = {
    "version": os.environ.get("VERSION", "nano"),
    "language": os.environ.get("LANGUAGE", "en"),
    "epochs_s2": int(os.environ.get("EPOCHS_S2", "4")),
    "epochs_s1": int(os.environ.get("EPOCHS_S1", "8")),
    "batch_size": int(os.environ.get("BATCH_SIZE", "4")),
    "gpu_id": os.environ.get("GPU_ID", "0"),
}
STEPS: "dict[str, dict]" = {
    "convert_audio": {},
    # As such clients send them: every value under the name after its own. The service puts them right and says so.
    "slice_audio": {
        "min_length": -34,
        "min_interval": 4000,
        "hop_size": 300,
        "max_sil_kept": 10,
        "_max": 500,
        "alpha": 0.9,
        "n_parts": 0.25,
        "is_speech": 0,
        "num_processes": 1,
    },
    "denoise_audio": {"precision": "float16"},
    "asr_transcribe": {"precision": "float16"},
    "extract_text_features": {},
    "extract_audio_features": {},
    "extract_speaker_vectors": {},
    "extract_semantic_features": {},
    "train_sovits": {},
    "train_gpt": {},
    "test_inference": {},
}
POLL_SECONDS = float(os.environ.get("POLL_SECONDS", "10"))


class TrainingClient:
    """A client of the service at an address. A step that is rejected shows in the task, as one that fails does."""

    def __init__(self, base_url: str, key: str = "") -> None:
        self.base_url = f"{base_url.rstrip('/')}/api/v1"
        self.key = key

    def create_task(self, task_name: str, config: dict) -> dict:
        return self._json("POST", "/task/create", {"task_name": task_name, "config": config})

    def upload_audio(self, task_id: str, path: str) -> dict:
        boundary = uuid.uuid4().hex
        name = os.path.basename(path)
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        with open(path, "rb") as audio:
            body = head.encode() + audio.read() + f"\r\n--{boundary}--\r\n".encode()
        return self._json("POST", f"/task/{task_id}/files/upload", body, f"multipart/form-data; boundary={boundary}")

    def execute_step(self, task_id: str, step: str, params: "dict | None" = None) -> dict:
        """Ask for a step and return the response, of a rejected one too: `get_task_status` tells what came of it."""
        try:
            with self._open("POST", f"/task/{task_id}/step/{step}", {"params": params or {}}) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def get_task_status(self, task_id: str) -> dict:
        return self._json("GET", f"/task/{task_id}")

    def wait_for_completion(self, task_id: str, timeout: float = 3600) -> dict:
        """Poll until the step is completed, failed or cancelled, and return the task."""
        deadline = time.monotonic() + timeout
        printed = ""
        while (task := self.get_task_status(task_id))["status"] not in ("completed", "failed", "cancelled"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{task['current_step']} of {task_id} took more than {timeout} s")
            news = f"  {task['current_step']} {task['progress']:.1f} %"
            if news != printed:
                print(news)
                printed = news
            time.sleep(POLL_SECONDS)
        return task

    def download(self, task_id: str, filename: str) -> None:
        path = f"/task/{task_id}/files/download/{urllib.parse.quote(filename)}"
        with self._open("GET", path) as response, open(filename, "wb") as file:
            while block := response.read(1 << 20):
                file.write(block)

    def _json(self, method: str, path: str, body=None, content_type: str = "application/json") -> dict:
        try:
            with self._open(method, path, body, content_type) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            sys.exit(f"{method} {path}: {error.code} {error.read().decode()}")

    def _open(self, method: str, path: str, body=None, content_type: str = "application/json"):
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        return urllib.request.urlopen(
            urllib.request.Request(self.base_url + path, content, headers, method=method), timeout=600
        )


def main(name: str, *recordings: str) -> None:
    client = TrainingClient(BASE, KEY)
    task = client.create_task(name, {"exp_name": name, **CONFIG})["task_id"]
    print("task", task)
    for recording in recordings:
        print("uploaded", client.upload_audio(task, recording)["filename"])
    for step, params in STEPS.items():
        started = client.execute_step(task, step, params)
        print(step, started.get("message", ""), *started.get("warnings", []))
        state = client.wait_for_completion(task)
        if state["status"] != "completed":
            sys.exit(f"{state['current_step']} {state['status']}: {state['error_message']}")
    state = client.get_task_status(task)
    print("done:", state["status"], state["progress"], "voice", state["voice_id"])
    for file in state["files"]:
        if file["kind"] != "upload":
            client.download(task, file["filename"])
            print("downloaded", file["filename"], os.path.getsize(file["filename"]), "bytes")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
