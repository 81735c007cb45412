"""The keys under which artifacts lie in storage: ids joined by slashes."""

from __future__ import annotations

from typing import Final

EXPERIMENTS: Final = "experiments"
SPEECH: Final = "speech"
DOWNLOADS: Final = "audio"
INFERENCE: Final = "inference"
IMPORTS: Final = "imports"
LOGS: Final = "logs"
"""The folders whose old entries are deleted from time to time."""


def uploaded_file(file_id: str) -> str:
    """Return the key of an uploaded file."""
    return f"files/{file_id}"


def consent_file(consent_id: str) -> str:
    """Return the key of the recording of a spoken consent."""
    return f"consents/{consent_id}.wav"


def reference_folder(file_id: str) -> str:
    """Return the key of the folder with what an uploaded file became as a reference recording."""
    return f"references/{file_id}"


def reference_file(file_id: str) -> str:
    """Return the key of an uploaded file's WAV as a reference recording."""
    return f"{reference_folder(file_id)}/prompt.wav"


def checkpoint(checkpoint_id: str) -> str:
    """Return the key of a checkpoint's weights."""
    return f"checkpoints/{checkpoint_id}.safetensors"


def voice_folder(voice_id: str) -> str:
    """Return the key of the folder that holds a voice's prompts."""
    return f"voices/{voice_id}"


def voice_file(voice_id: str, name: str) -> str:
    """Return the key of one file of a voice."""
    return f"{voice_folder(voice_id)}/{name}"


def experiment_folder(experiment_id: str) -> str:
    """Return the key of an experiment's folder, in which its stages work."""
    return f"{EXPERIMENTS}/{experiment_id}"


def experiment_file(experiment_id: str, *parts: str) -> str:
    """Return the key of a file or folder in an experiment's folder."""
    return "/".join((experiment_folder(experiment_id), *parts))


def dataset_folder(dataset_id: str) -> str:
    """Return the key of a data set's folder."""
    return f"datasets/{dataset_id}"


def dataset_audio_folder(dataset_id: str) -> str:
    """Return the key of the folder with a data set's recordings and segments."""
    return f"{dataset_folder(dataset_id)}/sounds"


def speech_folder(job_id: str) -> str:
    """Return the key of the folder with what a speech job synthesized."""
    return f"{SPEECH}/{job_id}"


def speech_file(job_id: str, name: str) -> str:
    """Return the key of one file of a speech job: `<index>.wav` of an utterance, `prompt.wav` of the request."""
    return f"{speech_folder(job_id)}/{name}"


def inference_folder(inference_id: str) -> str:
    """Return the key of the folder with the result of an inference job or batch."""
    return f"{INFERENCE}/{inference_id}"


def import_folder(job_id: str) -> str:
    """Return the key of the folder with the files that were uploaded for a voice import."""
    return f"{IMPORTS}/{job_id}"


def import_file(job_id: str, name: str) -> str:
    """Return the key of one of these files."""
    return f"{import_folder(job_id)}/{name}"


def download_file(name: str) -> str:
    """Return the key of speech that a foreign API offers for download under a random name."""
    return f"{DOWNLOADS}/{name}"


def log_folder(experiment_id: str) -> str:
    """Return the key of the folder with the logs of an experiment's jobs."""
    return f"{LOGS}/{experiment_id}"


def log_file(job_id: str) -> str:
    """Return the key of a job's log; the id of an experiment's job begins with the experiment's and a dot."""
    owner, dot, rest = job_id.partition(".")
    return f"{log_folder(owner)}/{rest}.jsonl" if dot else f"{LOGS}/{job_id}.jsonl"
