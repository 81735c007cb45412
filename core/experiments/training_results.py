"""Results of a training for users: losses by epoch and step, evaluated checkpoints, plots and audio."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final, cast

from typing_extensions import TypedDict

from common import storage_keys
from core.errors import InvalidRequest, NotFound
from core.records import Records, StageRecord
from core.stages.outputs import CheckpointOutput, TrainingOutputs
from core.storage import Storage

METRICS: Final = "metrics.jsonl"
"""One line of JSON for each logged step: `epoch`, `step`, `learning_rate`, and the losses by name."""
NO_LOSSES: Final = ("epoch", "step", "learning_rate")
FOLDERS: Final = {"sovits_train": "sovits", "gpt_train": "gpt"}
"""Training → what its folder's name begins with."""


class EpochLosses(TypedDict):
    """The mean losses of one epoch, by name."""

    epoch: int
    losses: dict[str, float | None]


class TrainingSummary(TypedDict):
    """A completed training: the chosen checkpoint, the numbers and all checkpoints."""

    checkpoint_id: str
    metrics: dict[str, object]
    checkpoints: list[CheckpointOutput]


@dataclass(frozen=True, slots=True)
class TrainingResults:
    """The newest run of a training, finished or not."""

    record: StageRecord
    epochs: list[EpochLosses]
    """The last one may be in progress."""
    steps: list[int] = field(default_factory=list)
    """Of the points below."""
    losses: dict[str, list[float | None]] = field(default_factory=dict)
    """Loss → its value at each of `steps`."""

    @property
    def checkpoints(self) -> list[CheckpointOutput]:
        """The saved epochs, oldest first; while the run is in progress those that were evaluated already."""
        if "checkpoints" in self.record.outputs:
            return list(self.record.outputs["checkpoints"])
        return cast(list[CheckpointOutput], [row for row in self.record.previews if "checkpoint_id" in row])

    @property
    def metrics(self) -> dict[str, object]:
        """`final_loss`, `best_epoch` and more of a finished run; the newest numbers of one in progress."""
        final = {name: value for name, value in self.record.outputs.get("metrics", {}).items() if name != "history"}
        return final or dict(self.record.metrics)


def read_results(storage: Storage, record: StageRecord, points: int = 0) -> TrainingResults:
    """Read the losses of a training so far, with up to `points` evenly spaced single steps.

    Raises:
        InvalidRequest: the stage is no training.
    """
    if record.stage not in FOLDERS:
        trainings = ", ".join(FOLDERS)
        raise InvalidRequest(f"{record.stage} is no training and has no losses", hint=f"These have: {trainings}.")
    lines = _read_metrics(storage, record)
    history = record.outputs.get("metrics", {}).get("history")
    if history:
        epochs: list[EpochLosses] = [
            {"epoch": row["epoch"], "losses": {name: value for name, value in row.items() if name != "epoch"}}
            for row in history
        ]
    else:
        epochs = _mean_losses(lines)
    shown = _pick_evenly(lines, points)
    names = list(dict.fromkeys(name for line in lines for name in _losses_of(line)))
    return TrainingResults(
        record=record,
        epochs=epochs,
        steps=[int(line["step"]) for line in shown],
        losses={name: [line.get(name) for line in shown] for name in names} if shown else {},
    )


async def summarize_trainings(records: Records, exp_id: str) -> dict[str, TrainingSummary]:
    """Return stage → summary of the completed trainings of an experiment."""
    summaries: dict[str, TrainingSummary] = {}
    for name in FOLDERS:
        record = await records.stages.get(exp_id, name)
        if "checkpoint_id" in record.outputs:
            results = TrainingResults(record, [])
            summaries[name] = {
                "checkpoint_id": record.outputs["checkpoint_id"],
                "metrics": results.metrics,
                "checkpoints": results.checkpoints,
            }
    return summaries


def artifacts(record: StageRecord) -> dict[str, str]:
    """Return file name → storage key of the plots and audio that a run has left."""
    outputs = cast(TrainingOutputs, record.outputs)
    samples = (spoken.get("sample") for spoken in (*record.previews, *outputs.get("checkpoints", ())))
    keys = [outputs.get("curves"), record.outputs.get("sample"), *samples]
    return {key.rpartition("/")[2]: key for key in keys if isinstance(key, str)}


def artifact_key(record: StageRecord, name: str) -> str:
    """Return the storage key of one of these files.

    Raises:
        NotFound: lists the files.
    """
    keys = artifacts(record)
    if name not in keys:
        hint = f"It left {', '.join(keys)}." if keys else "It has left nothing yet."
        raise NotFound(f"{record.stage} of {record.exp_id} left no {name!r}", hint=hint)
    return keys[name]


def _read_metrics(storage: Storage, record: StageRecord) -> list[dict[str, Any]]:
    """Return every complete line of the run's metrics; the last one may still be in writing."""
    folder = f"{FOLDERS[record.stage]}_{record.work_run}"
    path = storage.path(storage_keys.experiment_file(record.exp_id, folder, METRICS))
    lines: list[dict[str, Any]] = []
    if not path.is_file():
        return lines
    for line in path.read_bytes().splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


def _losses_of(line: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in line.items() if name not in NO_LOSSES and isinstance(value, int | float)}


def _mean_losses(lines: list[dict[str, Any]]) -> list[EpochLosses]:
    values: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        for name, value in _losses_of(line).items():
            values[line["epoch"]][name].append(value)
    return [
        {"epoch": epoch, "losses": {name: sum(of_epoch) / len(of_epoch) for name, of_epoch in losses.items()}}
        for epoch, losses in sorted(values.items())
    ]


def _pick_evenly(lines: list[dict[str, Any]], points: int) -> list[dict[str, Any]]:
    """Return up to `points` lines: the first, the last, and evenly spaced ones between."""
    if points < 1 or not lines:
        return []
    if len(lines) <= points:
        return lines
    if points == 1:
        return lines[-1:]
    return [lines[round(i * (len(lines) - 1) / (points - 1))] for i in range(points)]
