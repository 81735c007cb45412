"""Quick mode: one recording in, a voice out, a sentence spoken with it.

    BASE=http://127.0.0.1:9880 KEY=... python quick_mode.py recording.wav "A voice's name" "What it says."

VERSION, LANGUAGE and QUALITY come from the environment, too. Needs sovitsd-client (pip install ./client).
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from sovitsd_client import Sovitsd, SovitsdError

BASE = os.environ.get("BASE", "http://127.0.0.1:9880")
KEY = os.environ.get("KEY", "")
OPTIONS: dict[str, Any] = {
    "version": os.environ.get("VERSION", "nano"),
    "language": os.environ.get("LANGUAGE", "en"),
    "quality": os.environ.get("QUALITY", "fast"),
}


def main(recording: str, name: str, text: str) -> None:
    with Sovitsd(BASE, KEY) as client:
        file = client.files.upload(recording)
        task = client.tasks.create(name, file.id, **OPTIONS)
        for event in client.tasks.watch(task.id):  # comes back where it broke off
            print(event.name, json.dumps(dict(event.data), ensure_ascii=False))
        task = client.tasks.get(task.id)
        if task.status != "completed" or task.voice_id is None:
            sys.exit(f"{task.status}: {task.error_message}")
        speech = client.inference.create(text, task.voice_id)
        client.inference.wait(speech.id)
        audio = client.inference.audio(speech.id)
        Path("speech.wav").write_bytes(audio)
        print("speech.wav", len(audio), "bytes")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except SovitsdError as error:
        sys.exit(str(error))
