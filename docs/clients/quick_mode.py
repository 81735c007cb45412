"""Quick mode: one recording in, a voice out, a sentence spoken with it.

    BASE=http://127.0.0.1:9880 KEY=... python quick_mode.py recording.wav "A voice's name" "What it says."

VERSION, LANGUAGE and QUALITY come from the environment, too. Needs httpx.
"""

import os
import sys
from pathlib import Path

import httpx

BASE = os.environ.get("BASE", "http://127.0.0.1:9880")
KEY = os.environ.get("KEY", "")
OPTIONS = {
    "version": os.environ.get("VERSION", "nano"),
    "language": os.environ.get("LANGUAGE", "en"),
    "quality": os.environ.get("QUALITY", "fast"),
}


def main(recording: str, name: str, text: str) -> None:
    headers = {"Authorization": f"Bearer {KEY}"} if KEY else {}
    with httpx.Client(base_url=BASE, headers=headers, timeout=httpx.Timeout(600, read=None)) as client:
        with open(recording, "rb") as sound:
            file = checked(client.post("/api/v1/files", files={"file": sound}, data={"purpose": "training"}))
        task = checked(
            client.post("/api/v1/tasks", json={"exp_name": name, "audio_file_id": file["id"], "options": OPTIONS})
        )
        watch(client, task["id"])
        task = checked(client.get(f"/api/v1/tasks/{task['id']}"))
        if task["status"] != "completed":
            sys.exit(f"{task['status']}: {task['error_message']}")
        speak(client, task["voice_id"], text)


def watch(client: httpx.Client, task_id: str) -> None:
    """Print what happens until the task has ended; the stream comes back where it broke off."""
    last, kind = "", ""
    while kind not in ("completed", "failed", "cancelled"):
        headers = {"Last-Event-ID": last} if last else {}
        try:
            with client.stream("GET", f"/api/v1/tasks/{task_id}/progress", headers=headers) as events:
                events.raise_for_status()
                for line in events.iter_lines():
                    name, _, value = line.partition(": ")
                    if name == "id":
                        last = value
                    elif name == "event":
                        kind = value
                    elif name == "data":
                        print(kind, value)
        except httpx.TransportError as error:
            print(f"Listening again: {error}", file=sys.stderr)


def speak(client: httpx.Client, voice: str, text: str) -> None:
    job = checked(client.post("/api/v1/inference", json={"text": text, "voice": voice, "format": "wav"}))
    with client.stream("GET", f"/api/v1/inference/{job['id']}/progress") as events:
        for line in events.iter_lines():
            print(line)
    sound = client.get(f"/api/v1/inference/{job['id']}/audio")
    if sound.is_error:
        sys.exit(sound.text)
    Path("speech.wav").write_bytes(sound.content)
    print("speech.wav", len(sound.content), "bytes")


def checked(answer: httpx.Response) -> dict:
    """Return what was answered; the message and the hint where that is an error."""
    if answer.is_error:
        error = answer.json()["error"]
        sys.exit(f"{answer.status_code} {error['code']}: {error['message']} {error['hint']}")
    return answer.json()


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
