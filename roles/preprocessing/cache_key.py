"""What each preprocessing stage reads and writes in the experiment's folder, and everything that decides its result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common import storage_keys
from common.json_types import JsonObject
from core.errors import InputGone, NotFound
from roles.preprocessing.dataset_segments import begins_from_dataset, chosen_segments
from roles.preprocessing.model_files import (
    base_model,
    check_official_parts,
    is_half,
    is_official,
    models_folder,
    official_part,
    recognizer_folder,
)
from roles.stages.stage_run import StageRun

SEGMENTS: Final = "segments"
"""Stands for the denoised segments where denoising ran."""
WITHOUT_EFFECT: Final = frozenset({"n_parts"})
"""Parameters that change how long a stage takes and not its result."""


@dataclass(frozen=True, slots=True)
class StageFiles:
    """Files and folders, relative to the experiment's folder."""

    inputs: tuple[str, ...]
    products: tuple[str, ...]


STAGE_FILES: Final[dict[str, StageFiles]] = {
    "convert": StageFiles((), ("source",)),
    "audio_slice": StageFiles(("source",), ("segments",)),
    "denoise": StageFiles(("segments",), ("denoised",)),
    "asr": StageFiles((SEGMENTS,), ("transcripts.list",)),
    "text_feature": StageFiles(("transcripts.list",), ("2-name2text.txt", "3-bert")),
    "hubert_feature": StageFiles((SEGMENTS,), ("4-cnhubert", "5-wav32k")),
    "speaker_vector": StageFiles((SEGMENTS,), ("7-sv_cn",)),
    "semantic_token": StageFiles(("4-cnhubert",), ("6-name2semantic.tsv",)),
}


def segments_folder(run: StageRun) -> str:
    """Return `denoised` where denoising ran, else `segments`."""
    denoised = run.outputs.get("denoise")
    return "segments" if denoised is None or denoised.get("skipped") else "denoised"


def stage_inputs(run: StageRun) -> dict[str, Path]:
    """Return what the stage reads, by name. Raises InputGone when some of it is not there."""
    if run.stage == "convert":
        check_official_parts(run)  # reported first, also when nothing has to be converted
    inputs = {}
    for name in STAGE_FILES[run.stage].inputs:
        name = segments_folder(run) if name == SEGMENTS and run.stage != "denoise" else name
        inputs[name] = run.folder / name
        if not inputs[name].exists():
            producer = next(stage for stage, files in STAGE_FILES.items() if name in files.products)
            raise InputGone(
                f"{run.stage} needs {name} of {run.experiment.id}, which is no longer there.",
                hint=f"Run {producer} again.",
            )
    if run.stage == "convert" and not begins_from_dataset(run):
        inputs["upload"] = uploaded_recording(run)
    return inputs


def uploaded_recording(run: StageRun) -> Path:
    """Return the recording that the experiment begins from. Raises InputGone when it is not there."""
    file_id = run.experiment.audio_file_id
    path = run.services.storage.path(storage_keys.uploaded_file(file_id)) if file_id else None
    if path is None or not path.is_file():
        raise InputGone(
            f"The recording that {run.experiment.exp_name} begins from ({file_id or 'deleted'}) is no longer there.",
            hint="Upload it again, and begin anew from that.",
        )
    return path


def key_facts(run: StageRun) -> JsonObject:
    """Return what decides the result beside the content of the inputs and the code: parameters, version, weights."""
    experiment = run.experiment
    facts: JsonObject = {
        "stage": run.stage,
        "version": experiment.version,
        "dataset": None,
        "parameters": {name: value for name, value in run.config.items() if name not in WITHOUT_EFFECT},
        "weights": [_file_identities(path) for path in _weights(run)],
    }
    if run.stage in ("convert", "audio_slice", "asr") and begins_from_dataset(run):
        dataset = chosen_segments(run)  # its report may decide anew what is left out
        facts["dataset"] = [dataset.dataset_id, dataset.version, dataset.fingerprint]
    if run.stage in ("text_feature", "hubert_feature", "speaker_vector"):
        facts["device"] = [run.services.device, is_half(run)]
    if run.stage == "semantic_token":
        transcribed = run.outputs.get("asr")
        facts["base"] = experiment.parameters.get("sovits_train", {}).get("pretrained_s2G", "")
        facts["prompt"] = Path(transcribed["prompt"]["audio"]).name if transcribed else ""
    return facts


def _weights(run: StageRun) -> list[Path]:
    """Return the models that the stage computes with. Raises like the stage itself when one is missing."""
    official = is_official(run.experiment)
    if run.stage == "asr":
        return [recognizer_folder(run)]
    if run.stage == "hubert_feature":
        from GPT_SoVITS.features.whisper_model import model_folder

        return [official_part(run, "hubert") if official else model_folder(models_folder(run.services))]
    if run.stage == "speaker_vector":
        return [official_part(run, "speaker_vector")]
    if run.stage == "semantic_token":
        return [base_model(run, "sovits", run.experiment.parameters.get("sovits_train", {}))]
    if run.stage == "text_feature" and official:
        from GPT_SoVITS.errors import ModelError

        try:
            return [official_part(run, "roberta")]
        except (ModelError, NotFound):  # it may be missing, for only Mandarin needs it
            return []
    return []


def _file_identities(path: Path) -> list[list[str | int]]:
    """Return name, size and time of every file: to read hundreds of megabytes would take longer than the stage."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
