"""The lineage of a checkpoint, so that it can be made again: recordings, parameters, base models and code."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from common.files import sha256_of_file
from common.repository import REPOSITORY
from core.errors import NotFound
from roles.stages.stage_run import StageRun


class BaseFile(TypedDict):
    """A file that a training began from."""

    file: str
    sha256: str


class TrainingData(TypedDict, total=False):
    """What was trained on: a version of a data set, or a recording."""

    dataset_id: str
    dataset_version: int | None
    audio_file_id: str | None
    sha256: str | None
    """Of the recording."""
    segments: int | None
    """How many were trained on."""


class Lineage(TypedDict):
    """What a checkpoint was made of, as its record keeps it."""

    experiment: str
    stage: str
    run: int
    version: str
    data: TrainingData
    parameters: dict[str, Any]
    base: dict[str, BaseFile]
    """By part."""
    code: dict[str, str]


def lineage_of(run: StageRun, bases: Mapping[str, str], batch_size: int) -> Lineage:
    """Return the lineage of a run's checkpoints. `bases`: part → file that the training begins from."""
    return {
        "experiment": run.experiment.id,
        "stage": run.stage,
        "run": run.run,
        "version": run.experiment.version,
        "data": _data(run),
        "parameters": {**run.config, "batch_size": batch_size},
        "base": {part: {"file": Path(path).name, "sha256": sha256_of_file(Path(path))} for part, path in bases.items()},
        "code": code_version(),
    }


@cache
def code_version() -> dict[str, str]:
    """Return the package's version, and the commit when it runs from a checkout."""
    try:
        code = {"version": version("sovitsd")}
    except PackageNotFoundError:
        code = {"version": "unknown"}
    commit = _commit(REPOSITORY / ".git")
    return code | ({"commit": commit} if commit else {})


def _data(run: StageRun) -> TrainingData:
    """Return the data set and its version, or the recording, with the number of segments that are trained on."""
    experiment = run.experiment
    text_features = run.outputs.get("text_feature")
    segments = text_features["transcripts"] if text_features else None
    if experiment.dataset_id:
        return {
            "dataset_id": experiment.dataset_id,
            "dataset_version": experiment.dataset_version,
            "segments": segments,
        }
    data: TrainingData = {"audio_file_id": experiment.audio_file_id, "segments": segments}
    if experiment.audio_file_id:
        try:
            file = run.services.call(run.services.records.files.get, experiment.audio_file_id)
        except NotFound:  # deleted since; the segments are still here
            return data
        data["sha256"] = file.sha256 if file else None
    return data


def _commit(git: Path) -> str:
    """Return the commit of a checkout, read without the program git; empty when there is none."""
    try:
        head = (git / "HEAD").read_text(encoding="ascii").strip()
        name = head.removeprefix("ref: ")
        if name == head:
            return head
        if (git / name).exists():
            return (git / name).read_text(encoding="ascii").strip()
        packed = (git / "packed-refs").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    return next((line.split(" ")[0] for line in packed if line.endswith(f" {name}")), "")
