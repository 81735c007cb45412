"""What a checkpoint was made of, so that it can be made again: recordings, parameters, base and code."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from core.errors import NotFound
from roles.stages.stage_role import StageRun

REPOSITORY = Path(__file__).resolve().parents[2]


def lineage_of(run: StageRun, bases: dict[str, str], batch_size: int) -> dict[str, Any]:
    """`bases`: what the training begins from, part → file."""
    return {
        "experiment": run.experiment.id,
        "stage": run.stage,
        "run": run.run,
        "version": run.experiment.version,
        "data": _data(run),
        "parameters": {**run.config, "batch_size": batch_size},
        "base": {part: {"file": Path(path).name, "sha256": sha256_of(Path(path))} for part, path in bases.items()},
        "code": code_version(),
    }


def sha256_of(path: Path) -> str:
    """Hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def code_version() -> dict[str, str]:
    """The package's version, and the commit where it runs from a checkout."""
    try:
        known = {"version": version("sovitsd")}
    except PackageNotFoundError:
        known = {"version": "unknown"}
    commit = _commit(REPOSITORY / ".git")
    return known | ({"commit": commit} if commit else {})


def _data(run: StageRun) -> dict[str, Any]:
    """The data set and its version, or the recording; with the number of segments that are learnt from."""
    experiment = run.experiment
    segments = run.outputs.get("text_feature", {}).get("transcripts")
    dataset = getattr(experiment, "dataset_id", None)
    if dataset:
        return {"dataset_id": dataset, "dataset_version": experiment.dataset_version, "segments": segments}
    known: dict[str, Any] = {"audio_file_id": experiment.audio_file_id, "segments": segments}
    if experiment.audio_file_id:
        try:
            file = run.services.call(run.services.records.files.get, experiment.audio_file_id)
        except NotFound:  # deleted since; the segments are still here
            return known
        known["sha256"] = file.sha256 if file else None
    return known


def _commit(git: Path) -> str:
    """The commit of a checkout, without the program git; empty where there is none."""
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
