"""What a training has to show: losses by epoch and by step, judged checkpoints, pictures and sound."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from core.errors import InvalidRequest, NotFound
from core.records import Records, StageRecord
from core.storage import Storage

METRICS: Final = "metrics.jsonl"
NO_LOSSES: Final = ("epoch", "step", "learning_rate")
FOLDERS: Final = {"sovits_train": "sovits", "gpt_train": "gpt"}
"""Training → what its folder's name begins with."""


@dataclass(frozen=True, slots=True)
class TrainingResults:
    """The newest run of a training, finished or not."""

    record: StageRecord
    epochs: list[dict[str, Any]]
    """`{epoch, losses: {name: mean}}`; the last one may be in progress."""
    steps: list[int] = field(default_factory=list)
    """Of the points below."""
    losses: dict[str, list[float | None]] = field(default_factory=dict)
    """Loss → its value at each of `steps`."""

    @property
    def checkpoints(self) -> list[dict[str, Any]]:
        """`{epoch, checkpoint_id, loss, wer, similarity, dnsmos, sample, …}`, oldest first."""
        return list(self.record.outputs.get("checkpoints", []))

    @property
    def metrics(self) -> dict[str, Any]:
        """`final_loss`, `best_epoch` and more of a finished run; the newest numbers of one in progress."""
        shown = {name: value for name, value in self.record.outputs.get("metrics", {}).items() if name != "history"}
        return shown or dict(self.record.metrics)


def read_results(storage: Storage, record: StageRecord, points: int = 0) -> TrainingResults:
    """The losses of a training so far; up to `points` single steps, evenly chosen. InvalidRequest for other stages."""
    if record.stage not in FOLDERS:
        trainings = ", ".join(FOLDERS)
        raise InvalidRequest(f"{record.stage} is no training and has no losses", hint=f"These have: {trainings}.")
    lines = _read_lines(storage, record)
    history = record.outputs.get("metrics", {}).get("history")
    chosen = _evenly(lines, points)
    names = list(dict.fromkeys(name for line in lines for name in _losses(line)))
    return TrainingResults(
        record=record,
        epochs=_of_history(history) if history else _means(lines),
        steps=[int(line["step"]) for line in chosen],
        losses={name: [line.get(name) for line in chosen] for name in names} if chosen else {},
    )


async def task_results(records: Records, exp_id: str) -> dict[str, Any]:
    """Of both trainings of an experiment, by stage: the numbers, the chosen checkpoint and all others."""
    shown = {}
    for name in FOLDERS:
        record = await records.stages.get(exp_id, name)
        if "checkpoint_id" in record.outputs:
            results = TrainingResults(record, [])
            shown[name] = {
                "checkpoint_id": record.outputs["checkpoint_id"],
                "metrics": results.metrics,
                "checkpoints": results.checkpoints,
            }
    return shown


def artefacts(record: StageRecord) -> dict[str, str]:
    """File name → storage key of what a run left for people: pictures and sound."""
    outputs = record.outputs
    keys = [
        outputs.get("curves"),
        outputs.get("sample"),
        *(one.get("sample") for one in outputs.get("checkpoints", [])),
    ]
    return {key.rpartition("/")[2]: key for key in keys if isinstance(key, str)}


def artefact(record: StageRecord, name: str) -> str:
    """The storage key of one of them; NotFound lists what there is."""
    known = artefacts(record)
    if name not in known:
        there = f"It left {', '.join(known)}." if known else "It has left nothing yet."
        raise NotFound(f"{record.stage} of {record.exp_id} left no {name!r}", hint=there)
    return known[name]


def _read_lines(storage: Storage, record: StageRecord) -> list[dict[str, Any]]:
    """Every whole line of the run's metrics; the last one may still be being written."""
    path = storage.path(f"experiments/{record.exp_id}/{FOLDERS[record.stage]}_{record.work_run}/{METRICS}")
    lines = []
    for line in _bytes(path).splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _losses(line: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in line.items() if name not in NO_LOSSES and isinstance(value, int | float)}


def _of_history(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"epoch": one["epoch"], "losses": {k: v for k, v in one.items() if k != "epoch"}} for one in history]


def _means(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    sums: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        for name, value in _losses(line).items():
            sums[line["epoch"]][name].append(value)
    return [
        {"epoch": epoch, "losses": {name: sum(values) / len(values) for name, values in losses.items()}}
        for epoch, losses in sorted(sums.items())
    ]


def _evenly(lines: list[dict[str, Any]], points: int) -> list[dict[str, Any]]:
    """The first, the last, and what lies evenly between."""
    if points < 1 or not lines:
        return []
    if len(lines) <= points:
        return lines
    if points == 1:
        return lines[-1:]
    return [lines[round(i * (len(lines) - 1) / (points - 1))] for i in range(points)]
