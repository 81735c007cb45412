"""The weights from elsewhere that stages need: official parts, base models of trainings, the speech recognizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from common.program_name import program_name
from common.recognizers import best_mandarin_recognizer, recognizer_kind
from core.errors import InvalidRequest, MissingPart, NotFound
from core.experiments.named_weights import (
    BASE_PARAMETERS,
    find_model_file,
    named_checkpoint,
    names_default,
)
from core.records import ExperimentRecord
from core.stages.parameters import DAMO_RECOGNIZER
from roles.runtime.file_job import FileJobRun
from roles.runtime.services import WorkerServices
from roles.stages.stage_run import StageRun

if TYPE_CHECKING:
    from GPT_SoVITS.dataset.transcribe import Transcriber
    from GPT_SoVITS.features.resemblyzer import SpeakerEncoder

LANGUAGES_WITH_ROBERTA: Final = ("zh", "auto")
"""Languages of a task whose text may need RoBERTa's features."""


def models_folder(services: WorkerServices) -> Path:
    """Return the folder of downloaded weights."""
    return services.settings.models_folder


def is_official(experiment: ExperimentRecord) -> bool:
    """Return whether the version builds on official weights; nano's weights come with the package."""
    return experiment.version != "nano"


def is_half(run: StageRun) -> bool | None:
    """Return False when the experiment forbids half precision, else None: used where the device has a fast one."""
    return None if run.experiment.is_half else False


def recognizer_folder(run: StageRun) -> Path:
    """Return the folder of the speech recognizer: the bundled one, or the one in the folder of models that `asr` names.

    Raises NotFound when there is no model of that name.
    """
    from GPT_SoVITS.features.whisper_model import model_folder

    folder, name = models_folder(run.services), str(run.config.get("model", ""))
    if name in ("", DAMO_RECOGNIZER):
        bundled = model_folder(folder)  # it lies in the same folder
        return bundled if not name else best_mandarin_recognizer(folder) or bundled
    path = find_model_file(folder, name)
    if path is None or recognizer_kind(path) is None:
        raise NotFound(
            f"asr.model is {name!r}, which is no recognizer in the folder of models.",
            hint="Name a folder below the data folder's `models` with a model of faster-whisper, SenseVoice or "
            "Paraformer; empty: the bundled one.",
        )
    return path


def bundled_recognizer(run: FileJobRun) -> Transcriber:
    """Return the recognizer that needs no download, which stays loaded."""
    from GPT_SoVITS.dataset.transcribe import Transcriber
    from GPT_SoVITS.features.whisper_model import model_folder

    folder, threads = str(model_folder(models_folder(run.services))), run.services.threads
    return run.models.get(("recognizer", folder, threads), lambda: Transcriber(folder, threads=threads))


def speaker_encoder(run: FileJobRun | StageRun) -> SpeakerEncoder:
    """Return the network that tells speakers apart, which stays loaded. Raises ModelError "missing_part"."""
    from GPT_SoVITS.features.resemblyzer import SpeakerEncoder

    return run.models.get(("speaker encoder",), SpeakerEncoder.load)


def check_official_parts(run: StageRun) -> None:
    """Check at the beginning of a task that all weights which it needs later are there.

    Raises MissingPart, which names all of them and the command that fetches them. In expert mode each stage checks for
    itself.
    """
    from GPT_SoVITS.checkpoints.catalog import find_part, needed
    from GPT_SoVITS.errors import ModelError

    experiment = run.experiment
    if experiment.task_id is None or not is_official(experiment):
        return
    folder = models_folder(run.services)
    missing: list[tuple[str, ModelError]] = []
    for part in needed(experiment.version, training=True):
        if part == "roberta" and experiment.language not in LANGUAGES_WITH_ROBERTA:
            continue
        if part in BASE_PARAMETERS:
            stage, parameter = BASE_PARAMETERS[part]
            if not names_default(experiment.parameters.get(stage, {}).get(parameter)):
                continue
        try:
            find_part(folder, part, experiment.version)
        except ModelError as error:
            missing.append((part, error))
    if missing:
        names = ", ".join(part for part, _ in missing)
        raise MissingPart(
            f"Version {experiment.version} needs official weights that are not in {folder}: {names}.",
            hint=f"`{program_name()} download {experiment.version}` fetches them. "
            'A voice of "version": "nano" needs no weights.',
            details={"parts": [error.message for _, error in missing]},
        )


def official_part(run: StageRun, part: str) -> Path:
    """Return the file or folder of a part for the experiment's version. Raises ModelError "missing_part"."""
    from GPT_SoVITS.checkpoints.catalog import find_part

    return find_part(models_folder(run.services), part, run.experiment.version)


def base_model(run: StageRun, part: str, config: Mapping[str, Any]) -> Path:
    """Return the file from which a training of `gpt`, `sovits` or `discriminator` begins.

    `config` may name it, else it is the official one. A name is a checkpoint's id, or a file's path below the folder of
    models: nothing else on the disk can be named. Raises NotFound, InvalidRequest or MissingPart.
    """
    stage, parameter = BASE_PARAMETERS[part]
    name = config.get(parameter)
    if not isinstance(name, str) or names_default(name):
        return official_part(run, part)
    if checkpoint_id := named_checkpoint(name):
        record = run.services.call(run.services.records.checkpoints.get, checkpoint_id)
        if record.kind != part:
            raise InvalidRequest(f"{stage}.{parameter} is {name}, a {record.kind} model; a {part} model is needed.")
        return run.services.storage.path(record.storage_key)
    path = find_model_file(models_folder(run.services), name)
    if path is None or not path.is_file():
        raise NotFound(
            f"{stage}.{parameter} is {name!r}, which is no file in the folder of models.",
            hint="Name a checkpoint's id, or a file below the data folder's `models`.",
        )
    return path
