"""Expert mode: an experiment whose stages are run one by one, a training run again with other parameters.

    BASE=http://127.0.0.1:9880 KEY=... python expert_mode.py recording.wav "A voice's name"

VERSION, LANGUAGE and EPOCHS come from the environment, too. Needs httpx.
"""

import os
import sys

import httpx

BASE = os.environ.get("BASE", "http://127.0.0.1:9880")
KEY = os.environ.get("KEY", "")
VERSION = os.environ.get("VERSION", "nano")
LANGUAGE = os.environ.get("LANGUAGE", "en")
EPOCHS = int(os.environ.get("EPOCHS", "4"))

PARAMETERS: dict[str, dict] = {
    "audio_slice": {"threshold": -34, "min_length": 4000},
    "asr": {"language": LANGUAGE},
    "sovits_train": {"total_epoch": EPOCHS, "batch_size": 4},
    "gpt_train": {"total_epoch": EPOCHS, "batch_size": 4},
}


def main(recording: str, name: str) -> None:
    headers = {"Authorization": f"Bearer {KEY}"} if KEY else {}
    with httpx.Client(base_url=BASE, headers=headers, timeout=httpx.Timeout(600, read=None)) as client:
        with open(recording, "rb") as sound:
            file = checked(client.post("/api/v1/files", files={"file": sound}))
        body = {"exp_name": name, "version": VERSION, "language": LANGUAGE, "audio_file_id": file["id"]}
        experiment = checked(client.post("/api/v1/experiments", json=body))
        path = f"/api/v1/experiments/{experiment['id']}/stages"
        for stage in experiment["stages"]:
            run(client, path, stage, PARAMETERS.get(stage, {}))
        # Once more with more epochs: what was made of the first result is stale until it runs again.
        again = run(client, path, "gpt_train", {"total_epoch": EPOCHS + 1})
        print("before:", again["previous_run"]["outputs"])
        for stage in checked(client.get(path))["stages"]:
            print(stage["stage_type"], stage["status"], stage["outputs"])


def run(client: httpx.Client, path: str, stage: str, parameters: dict) -> dict:
    """Run a stage and wait for its end."""
    started = checked(client.post(f"{path}/{stage}", json=parameters))
    print(stage, started["status"], started["config"])
    with client.stream("GET", f"{path}/{stage}/progress") as events:
        for line in events.iter_lines():
            if line.startswith("data: "):
                print(" ", line.removeprefix("data: "))
    ended = checked(client.get(f"{path}/{stage}"))
    if ended["status"] != "completed":
        sys.exit(f"{stage} is {ended['status']}: {ended['error_message']}")
    return ended


def checked(answer: httpx.Response) -> dict:
    """Return what was answered; the message and the hint where that is an error."""
    if answer.is_error:
        error = answer.json()["error"]
        sys.exit(f"{answer.status_code} {error['code']}: {error['message']} {error['hint']}")
    return answer.json()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
