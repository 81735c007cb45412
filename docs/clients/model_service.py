"""The model service in an envelope: recordings split, a voice trained, a text spoken, the results sent somewhere.

    BASE=http://127.0.0.1:9880 KEY=... python model_service.py "A voice's name" https://example.org/recording.wav

What to train on may be an address, or a file, which is uploaded first. VERSION, LANGUAGE, EPOCHS, DEVICE, TEXT and
UPLOAD_URL come from the environment, too. Needs httpx.
"""

import os
import sys
import time

import httpx

BASE = os.environ.get("BASE", "http://127.0.0.1:9880")
KEY = os.environ.get("KEY", "")
VERSION = os.environ.get("VERSION", "nano")
LANGUAGE = os.environ.get("LANGUAGE", "en")
EPOCHS = int(os.environ.get("EPOCHS", "4"))
DEVICE = os.environ.get("DEVICE", "")
TEXT = os.environ.get("TEXT", "This voice was trained a moment ago.")
UPLOAD_URL = os.environ.get("UPLOAD_URL", "")
ENDED = ("completed", "failed", "cancelled")


def main(name: str, source: str) -> None:
    headers = {"Authorization": f"Bearer {KEY}"} if KEY else {}
    with httpx.Client(base_url=BASE, headers=headers, timeout=httpx.Timeout(600, read=None)) as client:
        send = {"enable_upload": bool(UPLOAD_URL), "upload_url": UPLOAD_URL}
        inputs = [source if "://" in source else upload(client, source)]
        print("resources:", checked(client.get("/api/v2/resources"))["limits"])

        begun = checked(client.post("/api/v2/preprocessing/split", json={"inputs": inputs, "val": 0.1, "name": name}))
        prepared = poll(client, f"/api/v2/preprocessing/{begun['id']}")

        training = {
            "exp_name": name,
            "dataset_id": prepared["dataset_id"],
            "version": VERSION,
            "language": LANGUAGE,
            "epochs": EPOCHS,
            "device": DEVICE,
            **send,
        }
        begun = checked(client.post("/api/v2/training/start", json=training))
        follow(client, f"/api/v2/training/{begun['id']}/logs")
        trained = poll(client, f"/api/v2/training/{begun['id']}")

        speech = {"text": TEXT, "voice": trained["voice_id"], "format": "wav", **send}
        begun = checked(client.post("/api/v2/inference/start", json=speech))
        spoken = poll(client, f"/api/v2/inference/{begun['id']}")
        with open("speech.wav", "wb") as file:
            file.write(client.get(spoken["result"]["download_url"]).content)
        print("speech.wav", os.path.getsize("speech.wav"), "bytes")


def upload(client: httpx.Client, path: str) -> str:
    with open(path, "rb") as sound:
        answer = client.post("/api/v1/files", files={"file": sound})
    answer.raise_for_status()
    return answer.json()["id"]


def poll(client: httpx.Client, path: str) -> dict:
    while (shown := checked(client.get(path)))["status"] not in ENDED:
        print(f"{shown['status']} {shown['progress']:.0f} % {shown['message']}")
        time.sleep(1)
    if shown["status"] != "completed":
        sys.exit(f"{shown['status']}: {shown['error_message']}")
    return shown


def follow(client: httpx.Client, path: str) -> None:
    """Print the log as it is written; the stream itself has no envelope."""
    with client.stream("GET", path) as lines:
        for line in lines.iter_lines():
            if line.startswith("data: "):
                print(" ", line.removeprefix("data: "))


def checked(answer: httpx.Response) -> dict:
    """Return what is in the envelope."""
    envelope = answer.json()
    if envelope["code"] != 200:
        sys.exit(f"{envelope['code']}: {envelope['msg']}")
    return envelope["data"]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
