"""What each preparing stage reads and makes in the experiment's folder, and all that decides its result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.errors import InputGone, NotFound
from roles.preprocessing.from_dataset import begins_from_dataset, chosen_segments
from roles.preprocessing.official import base, check_parts, is_half, is_official, models_folder, part, recogniser
from roles.stages.stage_role import StageRun

SEGMENTS: Final = "segments"
"""Stands for the denoised ones where denoising ran."""
SPREADS_ONLY: Final = frozenset({"n_parts"})
"""Parameters that change how long a stage takes and not what it makes."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Files and folders, relative to the experiment's folder."""

    reads: tuple[str, ...]
    makes: tuple[str, ...]


RECIPES: Final[dict[str, Recipe]] = {
    "convert": Recipe((), ("source",)),
    "audio_slice": Recipe(("source",), ("segments",)),
    "denoise": Recipe(("segments",), ("denoised",)),
    "asr": Recipe((SEGMENTS,), ("transcripts.list",)),
    "text_feature": Recipe(("transcripts.list",), ("2-name2text.txt", "3-bert")),
    "hubert_feature": Recipe((SEGMENTS,), ("4-cnhubert", "5-wav32k")),
    "speaker_vector": Recipe((SEGMENTS,), ("7-sv_cn",)),
    "semantic_token": Recipe(("4-cnhubert",), ("6-name2semantic.tsv",)),
}


def segments_folder(run: StageRun) -> str:
    """`denoised` where denoising ran, else `segments`."""
    return "segments" if run.outputs.get("denoise", {"skipped": True})["skipped"] else "denoised"


def inputs_of(run: StageRun) -> dict[str, Path]:
    """What the stage reads, by name. Raises InputGone when some of it is not there."""
    if run.stage == "convert":
        check_parts(run)  # said first, also when nothing has to be converted
    folder = run.folder
    names = [segments_folder(run) if name == SEGMENTS and run.stage != "denoise" else name for name in _reads(run)]
    found = {name: folder / name for name in names}
    for name, path in found.items():
        if not path.exists():
            made_by = next(stage for stage, recipe in RECIPES.items() if name in recipe.makes)
            raise InputGone(
                f"{run.stage} needs {name} of {run.experiment.id}, which is no longer there.",
                hint=f"Run {made_by} again.",
            )
    if run.stage == "convert" and not begins_from_dataset(run):
        found["upload"] = upload_of(run)
    return found


def upload_of(run: StageRun) -> Path:
    """The recording that the experiment begins from. Raises InputGone when it is not there."""
    file_id = run.experiment.audio_file_id
    path = run.services.storage.path(f"files/{file_id}") if file_id else None
    if path is None or not path.is_file():
        raise InputGone(
            f"The recording that {run.experiment.exp_name} begins from ({file_id or 'deleted'}) is no longer there.",
            hint="Upload it again, and begin anew from that.",
        )
    return path


def facts_of(run: StageRun) -> dict[str, Any]:
    """What decides the result beside the inputs' content and the code: parameters, version, weights."""
    experiment = run.experiment
    facts: dict[str, Any] = {
        "stage": run.stage,
        "version": experiment.version,
        "dataset": _dataset(run),
        "parameters": {name: value for name, value in run.config.items() if name not in SPREADS_ONLY},
        "weights": [_identity(path) for path in _weights(run)],
    }
    if run.stage in ("text_feature", "hubert_feature", "speaker_vector"):
        facts["device"] = [run.services.device, is_half(run)]
    if run.stage == "semantic_token":
        facts["base"] = experiment.parameters.get("sovits_train", {}).get("pretrained_s2G", "")
        facts["prompt"] = Path(run.outputs.get("asr", {}).get("prompt", {}).get("audio", "")).name
    return facts


def _dataset(run: StageRun) -> list[Any] | None:
    """What is left out of a version, its report may decide anew."""
    if run.stage not in ("convert", "audio_slice", "asr") or not begins_from_dataset(run):
        return None
    chosen = chosen_segments(run)
    return [chosen.dataset_id, chosen.version, chosen.fingerprint]


def _reads(run: StageRun) -> tuple[str, ...]:
    return RECIPES[run.stage].reads


def _weights(run: StageRun) -> list[Path]:
    """The models that the stage computes with. Raises like the stage itself when one is missing."""
    official = is_official(run.experiment)
    if run.stage == "asr":
        return [recogniser(run)]
    if run.stage == "hubert_feature":
        from GPT_SoVITS.features.whisper_model import model_folder

        return [part(run, "hubert") if official else model_folder(models_folder(run.services))]
    if run.stage == "speaker_vector":
        return [part(run, "speaker_vector")]
    if run.stage == "semantic_token":
        return [base(run, "sovits", run.experiment.parameters.get("sovits_train", {}))]
    return _roberta(run) if run.stage == "text_feature" and official else []


def _roberta(run: StageRun) -> list[Path]:
    """Read only for Mandarin, so it may be missing."""
    from GPT_SoVITS.errors import ModelError

    try:
        return [part(run, "roberta")]
    except (ModelError, NotFound):
        return []


def _identity(path: Path) -> list[list[Any]]:
    """Name, size and time of every file: to read hundreds of megabytes would take longer than the work."""
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    return [[one.name, one.stat().st_size, one.stat().st_mtime_ns] for one in files]
