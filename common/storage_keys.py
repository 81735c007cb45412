"""The keys under which artifacts lie in storage: ids joined by slashes."""

from __future__ import annotations


def uploaded_file(file_id: str) -> str:
    """Return the key of an uploaded file."""
    return f"files/{file_id}"


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
    return f"experiments/{experiment_id}"


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
    return f"speech/{job_id}"


def speech_file(job_id: str, name: str) -> str:
    """Return the key of one file of a speech job: `<index>.wav` of an utterance, `prompt.wav` of the request."""
    return f"{speech_folder(job_id)}/{name}"


def inference_folder(inference_id: str) -> str:
    """Return the key of the folder with the result of an inference job or batch."""
    return f"inference/{inference_id}"


def import_folder(job_id: str) -> str:
    """Return the key of the folder with the files that were uploaded for a voice import."""
    return f"imports/{job_id}"


def import_file(job_id: str, name: str) -> str:
    """Return the key of one of these files."""
    return f"{import_folder(job_id)}/{name}"
