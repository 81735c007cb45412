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

BASE = os.environ.get("BASE", "http://127.0.0.1:9880") + "/api/v1"
KEY = os.environ.get("KEY", "")
CONFIG = {
    "version": os.environ.get("VERSION", "nano"),
    "language": os.environ.get("LANGUAGE", "en"),
    "epochs_s2": int(os.environ.get("EPOCHS_S2", "4")),
    "epochs_s1": int(os.environ.get("EPOCHS_S1", "8")),
    "batch_size": int(os.environ.get("BATCH_SIZE", "4")),
    "gpu_id": os.environ.get("GPU_ID", "0"),
}
STEPS = {
    "convert_audio": {},
    # As such clients send them: every value under the name after its own. The service puts them right and says so.
    "slice_audio": {"min_length": -34, "min_interval": 4000, "hop_size": 300, "max_sil_kept": 10, "_max": 500},
    "denoise_audio": {"enabled": os.environ.get("DENOISE", "") == "1"},
    "asr_transcribe": {},
    "extract_text_features": {},
    "extract_audio_features": {},
    "extract_speaker_vectors": {},
    "extract_semantic_features": {},
    "train_sovits": {},
    "train_gpt": {},
    "test_inference": {},
}
POLL_SECONDS = float(os.environ.get("POLL_SECONDS", "1"))


def main(name: str, *recordings: str) -> None:
    task = ask("POST", "/task/create", {"task_name": name, "config": {"exp_name": name, **CONFIG}})["task_id"]
    print("task", task)
    for recording in recordings:
        print("uploaded", upload(task, recording)["filename"])
    for step, params in STEPS.items():
        started = ask("POST", f"/task/{task}/step/{step}", params)
        print(step, started["status"], *started["warnings"])
        wait(task)
    done = ask("GET", f"/task/{task}")
    print("done:", done["status"], done["progress"], "voice", done["voice_id"])
    for file in done["files"]:
        if file["kind"] == "model":
            download(task, file["filename"])


def wait(task: str) -> None:
    """Poll until the step is done, and print what is new."""
    printed = ""
    while True:
        shown = ask("GET", f"/task/{task}")
        if shown["status"] in ("failed", "cancelled"):
            sys.exit(f"{shown['current_step']} {shown['status']}: {shown['error_message']}")
        if shown["status"] == "completed":
            return
        news = f"  {shown['current_step']} {shown['progress']:.0f} % {shown['message']}"
        if news != printed:
            print(news)
            printed = news
        time.sleep(POLL_SECONDS)


def upload(task: str, path: str) -> dict:
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{os.path.basename(path)}"\r\n\r\n'
    with open(path, "rb") as sound:
        body = head.encode() + sound.read() + f"\r\n--{boundary}--\r\n".encode()
    return ask("POST", f"/task/{task}/files/upload", body, f"multipart/form-data; boundary={boundary}")


def download(task: str, filename: str) -> None:
    path = f"/task/{task}/files/download/{urllib.parse.quote(filename)}"
    with urllib.request.urlopen(request("GET", path), timeout=600) as answer, open(filename, "wb") as file:
        while block := answer.read(1 << 20):
            file.write(block)
    print("downloaded", filename, os.path.getsize(filename), "bytes")


def ask(method: str, path: str, body=None, content_type: str = "application/json") -> dict:
    content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request(method, path, content, content_type), timeout=600) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refused:
        error = json.load(refused)["error"]
        sys.exit(f"{method} {path} was refused ({refused.code}): {error['message']} {error['hint']}")


def request(method: str, path: str, content=None, content_type: str = "application/json") -> urllib.request.Request:
    headers = {"Content-Type": content_type}
    if KEY:
        headers["Authorization"] = f"Bearer {KEY}"
    return urllib.request.Request(BASE + path, content, headers, method=method)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
