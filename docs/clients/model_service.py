"""The model service in an envelope: recordings split, a voice trained, texts spoken.

    BASE=http://127.0.0.1:9880 KEY=... python model_service.py "A voice's name" https://example.org/recording.wav

What to train on may be an address, or a file, which is uploaded first. MODEL, LANGUAGE, EPOCHS, DEVICE, TEXT and
POLL_SECONDS come from the environment, too. Needs sovitsd-client (pip install ./client).
"""

import os
import sys
import time
from typing import Any

from sovitsd_client import SovitsdError
from sovitsd_client.model_service import Client

BASE = os.environ.get("BASE", "http://127.0.0.1:9880")
KEY = os.environ.get("KEY", "")
MODEL = os.environ.get("MODEL", "nano")
LANGUAGE = os.environ.get("LANGUAGE", "en")
EPOCHS = int(os.environ.get("EPOCHS", "4"))
DEVICE = os.environ.get("DEVICE", "cuda")
TEXT = os.environ.get("TEXT", "This voice was trained a moment ago.")
POLL_SECONDS = float(os.environ.get("POLL_SECONDS", "5"))
ENDED = ("completed", "failed", "cancelled")


def wait(client: Client, task_id: str) -> dict[str, Any]:
    """Poll until the task has ended, and print what is new."""
    while (status := client.get_task(task_id))["status"] not in ENDED:
        print(f"{status['status']} {status['progress']} % epoch {status.get('current_epoch', '-')}")
        time.sleep(POLL_SECONDS)
    if status["status"] != "completed":
        sys.exit(f"{status['task_type']} {status['status']}: {status['message']}")
    return status


def main(name: str, source: str) -> None:
    with Client(BASE, KEY) as client:
        run(client, name, source)


def run(client: Client, name: str, source: str) -> None:
    gpu_info = client.get_gpu_info()
    print("GPUs:", gpu_info["count"])
    for device in gpu_info["devices"]:
        print(device["id"], device["name"], device["free_memory_gb"], "GB free", device["current_tasks"])
    print("limits:", client.get_resources()["limits"])

    path = source if "://" in source else client.server.files.upload(source).id
    split = wait(client, client.split_dataset(path, f"data/{name}", 0.9, 0.1)["task_id"])

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
    voice = wait(client, training["task_id"])["voice_id"]

    speech = wait(client, client.start_inference(voice, voice, TEXT, DEVICE)["task_id"])["res"]
    with open("speech.wav", "wb") as file:
        file.write(client.server.request("GET", speech["audio_url"]).content)
    print("speech.wav", os.path.getsize("speech.wav"), "bytes,", speech["duration_seconds"], "s")

    batch = client.start_batch_inference(voice, voice, ["One.", "Two."], DEVICE)
    for task_id in batch["task_ids"]:
        wait(client, task_id)
    tasks = client.get_all_tasks()
    print("trainings:", tasks["total_training"], "inferences:", tasks["total_inference"])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except SovitsdError as error:
        sys.exit(str(error))
