"""The official weights that the stages of v1 to v4 need: found, or asked for before any work is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.errors import InvalidRequest, MissingPart, NotFound
from core.records import ExperimentRecord
from roles.runtime.services import WorkerServices
from roles.stages.stage_role import StageRun

READ_WITH_ROBERTA = ("zh", "auto")
"""Languages of a task whose text may need its features."""
BASES = {
    "gpt": ("gpt_train", "pretrained_s1"),
    "sovits": ("sovits_train", "pretrained_s2G"),
    "discriminator": ("sovits_train", "pretrained_s2D"),
}
"""Part → the stage and its parameter that name another file for it."""
_ORIGINAL_FOLDER = "GPT_SoVITS/pretrained_models/"
"""What users of the original write before a file's name."""


def models_folder(services: WorkerServices) -> Path:
    """Where weights from elsewhere lie."""
    return services.settings.data_path / "models"


def is_official(experiment: ExperimentRecord) -> bool:
    """Whether the version builds on official weights; nano's weights come with the package."""
    return experiment.version != "nano"


def is_half(run: StageRun) -> bool | None:
    """Half precision where the device has a fast one, unless the experiment forbids it."""
    return None if run.experiment.is_half else False


def recogniser(run: StageRun) -> Path:
    """The folder of the speech recogniser: the bundled one, or one below the folder of models that `asr` names."""
    from GPT_SoVITS.features.whisper_model import model_folder

    folder, chosen = models_folder(run.services), str(run.config.get("model", ""))
    if not chosen:
        return model_folder(folder)
    path = (folder / chosen).resolve()
    if not path.is_relative_to(folder.resolve()) or not (path / "model.bin").is_file():
        raise NotFound(
            f"asr.model is {chosen!r}, which is no recogniser in the folder of models.",
            hint="Name a folder below the data folder's `models` that faster-whisper opens; empty: the bundled one.",
        )
    return path


def check_parts(run: StageRun) -> None:
    """Let a task fail at its beginning when weights that it needs later are missing; an expert's stages say it then.

    Raises MissingPart, which names all of them and the command that fetches them.
    """
    from GPT_SoVITS.checkpoints.catalog import find_part, needed
    from GPT_SoVITS.errors import ModelError

    experiment = run.experiment
    if experiment.task_id is None or not is_official(experiment):
        return
    folder = models_folder(run.services)
    missing: list[tuple[str, ModelError]] = []
    for part in needed(experiment.version, training=True):
        if _has_own_base(experiment, part) or (part == "roberta" and experiment.language not in READ_WITH_ROBERTA):
            continue
        try:
            find_part(folder, part, experiment.version)
        except ModelError as error:
            missing.append((part, error))
    if missing:
        names = ", ".join(part for part, _ in missing)
        raise MissingPart(
            f"Version {experiment.version} needs official weights that are not in {folder}: {names}.",
            hint=f"`main.py download {experiment.version}` fetches them. "
            'A voice of "version": "nano" needs no weights.',
            details={"parts": [error.message for _, error in missing]},
        )


def part(run: StageRun, name: str) -> Path:
    """The file or folder of a part for the experiment's version. ModelError "missing_part" says how to get it."""
    from GPT_SoVITS.checkpoints.catalog import find_part

    return find_part(models_folder(run.services), name, run.experiment.version)


def base(run: StageRun, name: str, config: dict[str, Any]) -> Path:
    """Where a training of `gpt`, `sovits` or `discriminator` begins: the file that `config` names, else the official.

    A name is a checkpoint's id, or a file's path below the folder of models: nothing else on the disk can be named.
    """
    stage, parameter = BASES[name]
    chosen = str(config.get(parameter, ""))
    if not chosen:
        return part(run, name)
    if chosen.startswith("ckpt-"):
        return _checkpoint(run, chosen, name, f"{stage}.{parameter}")
    folder = models_folder(run.services).resolve()
    path = (folder / chosen.removeprefix(_ORIGINAL_FOLDER)).resolve()
    if not path.is_relative_to(folder) or not path.is_file():
        raise NotFound(
            f"{stage}.{parameter} is {chosen!r}, which is no file in the folder of models.",
            hint="Name a checkpoint's id, or a file below the data folder's `models`.",
        )
    return path


def _has_own_base(experiment: ExperimentRecord, name: str) -> bool:
    if name not in BASES:
        return False
    stage, parameter = BASES[name]
    return bool(experiment.parameters.get(stage, {}).get(parameter))


def _checkpoint(run: StageRun, checkpoint_id: str, kind: str, parameter: str) -> Path:
    record = run.services.call(run.services.records.checkpoints.get, checkpoint_id)
    if record.kind != kind:
        raise InvalidRequest(f"{parameter} is {checkpoint_id}, a {record.kind} model; a {kind} model is needed.")
    return run.services.storage.path(record.storage_key)
