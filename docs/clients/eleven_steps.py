"""The eleven-step training service: make a task, upload the recordings, run the steps in order, poll until done.

    BASE=http://127.0.0.1:9880 KEY=... python eleven_steps.py "A voice's name" one.wav two.wav three.wav

VERSION, LANGUAGE, EPOCHS_S2, EPOCHS_S1, BATCH_SIZE and GPU_ID come from the environment, too. Needs
sovitsd-client (pip install ./client).
"""

import os
import sys

from sovitsd_client import SovitsdError
from sovitsd_client.training_service import TrainingClient

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


def main(name: str, *recordings: str) -> None:
    client = TrainingClient(BASE, KEY, poll_seconds=POLL_SECONDS)
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
            client.download(task, file["filename"], file["filename"])
            print("downloaded", file["filename"], os.path.getsize(file["filename"]), "bytes")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except SovitsdError as error:
        sys.exit(str(error))
