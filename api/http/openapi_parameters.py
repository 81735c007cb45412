"""What the parameters of paths and queries are, by their names, where a route says nothing more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_DESCRIPTIONS: Final[Mapping[str, str]] = {
    # Of paths
    "batch_id": "Id of a batch of inferences.",
    "consent_id": "Id of a consent.",
    "dataset_id": "Id of a data set.",
    "delivery_id": "Id of a delivery of a webhook.",
    "dubbing_id": "Id of subtitles that are spoken.",
    "exp_id": "Id of an experiment.",
    "file_id": "Id of an uploaded file.",
    "filename": "Name of a file, as its list has it.",
    "inference_id": "Id of an inference.",
    "job_id": "Id of a job of the queue.",
    "key_id": "Id of an API key, which is not the key.",
    "model": "Name of a model; every name is one, since the voice determines the checkpoints.",
    "model_id": "Id of a checkpoint.",
    "name": "Name of an artefact, as the stage's list has it.",
    "preset": "Name of a preset, as the list of presets has it.",
    "prompt": "Name or id of a prompt of the voice.",
    "proposal": "Id of a passage that was proposed as a prompt.",
    "request_id": "Id of a request, as the header X-Request-ID of its response has it.",
    "stage": "Name of a stage, as the list of stages has it.",
    "step": "Name of one of the eleven steps.",
    "task_id": "Id of a task.",
    "training_id": "Id of a training.",
    "voice": "Id or name of a voice.",
    "webhook_id": "Id of a webhook.",
    # Of queries
    "event": "Only deliveries of this event.",
    "format": "srt, vtt (WebVTT), or json with the words as well.",
    "limit": "Most items of a page.",
    "max_line_characters": "Most characters of a line of subtitles.",
    "method": "Only calls by this HTTP method.",
    "promoted": "Only models that are promoted, or that are not.",
    "purpose": "Only files that were uploaded for this purpose.",
    "refer_audio_path": "A prompt: a file that was uploaded, or a prompt of a voice.",
    "result": "Only calls with this result.",
    "role": "Only jobs of this role.",
    "status": "Only items of this status.",
    "type": "Only models of this type.",
    "version": "Only models of this version.",
    "weights_path": "Name of a checkpoint.",
}


def describe_parameters(operation: dict[str, Any]) -> None:
    """Give each parameter of an operation that has no description the one of its name."""
    for parameter in operation.get("parameters", []):
        if "description" not in parameter and parameter["name"] in _DESCRIPTIONS:
            parameter["description"] = _DESCRIPTIONS[parameter["name"]]
