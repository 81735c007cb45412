"""What a training keeps of itself: its place in the plan, `resume.pt` and `metrics.jsonl`."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import torch

from GPT_SoVITS.checkpoints.resume_files import load_resume, save_resume
from GPT_SoVITS.training.distributed import ProcessGroup

logger = logging.getLogger(__name__)

RESUME = "resume.pt"
METRICS = "metrics.jsonl"
NOT_A_CHANGE = (
    *("data", "output", "epochs", "save_every_epoch", "threads", "export_official", "name", "train"),
    *("precision", "grad_ckpt"),
)
"""Entries of a plan that may differ when it goes on: they do not decide the course, or the recipe holds them."""
OTHER_DATA = "the training set"


def fingerprint(*content: Any) -> str:
    """Tells whether a saved state belongs to a plan: everything that decides the course of a training, but for its
    number of epochs, of which more may be asked later. The content must be fit for JSON; a file that it names counts
    by what is in it, so that another host, where it lies elsewhere, can go on."""
    known = [[_by_content(one) for one in part] if isinstance(part, list) else _by_content(part) for part in content]
    return hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()


def settings_of(plan: Any, config: dict[str, Any]) -> dict[str, Any]:
    """What a plan sets and a recipe says, name -> value, so that a saved state can name what is different today."""
    given = {one.name: _by_content(getattr(plan, one.name)) for one in fields(plan) if one.name not in NOT_A_CHANGE}
    return json.loads(json.dumps({**given, **_flat(config)}, default=str))


def _by_content(value: Any) -> Any:
    """The same, but of a file its name and what is in it."""
    if not isinstance(value, str | Path) or not os.path.isabs(value) or not os.path.isfile(value):
        return value
    with open(value, "rb") as file:
        return f"{os.path.basename(value)} (SHA-256 {hashlib.file_digest(file, 'sha256').hexdigest()})"


def _flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[dict[str, Any]]:
    """`{name, before, now}` of what two `settings_of` disagree about; where nothing is, the data are different."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return [{"name": name, "before": before.get(name), "now": now.get(name)} for name in names] or [
        {"name": OTHER_DATA, "before": None, "now": None}
    ]


@dataclass(slots=True)
class TrainingProgress:
    """How far a training has come, and how it has gone."""

    epoch: int = 0
    """Epochs that are done."""
    batch: int = 0
    """Steps that are done of the present epoch."""
    step: int = 0
    """Steps that are done in all."""
    sums: dict[str, list[float]] = field(default_factory=dict)
    """Loss -> its weighted sum over this epoch, and the sum of the weights; some join late."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Mean losses of each epoch that is done."""
    saved: list[int] = field(default_factory=list)
    """Epochs, from 1, whose checkpoints were written."""
    ended: bool = False
    """Whether somebody had it end with its last epoch, before its plan's end."""

    def advance(self, losses: dict[str, float], weight: float = 1.0) -> None:
        """One step more, whose losses count that much in the epoch's means."""
        for name, loss in losses.items():
            total, count = self.sums.get(name, (0.0, 0.0))
            self.sums[name] = [total + loss * weight, count + weight]
        self.batch += 1
        self.step += 1

    def end_epoch(self) -> dict[str, float]:
        """Close the epoch; returns its means."""
        self.history.append({name: total / count for name, (total, count) in self.sums.items()})
        self.sums = {}
        self.epoch, self.batch = self.epoch + 1, 0
        return self.history[-1]


class RunRecorder:
    """`resume.pt` and `metrics.jsonl` in a training's output folder; the group's first process writes them."""

    def __init__(self, folder: Path, mark: str, group: ProcessGroup, settings: dict[str, Any] | None = None) -> None:
        """`mark` is the plan's `fingerprint`, `settings` its `settings_of`."""
        self.folder = folder
        self.mark = fingerprint(mark, group.size)
        self.group = group
        self.settings = {**(settings or {}), "processes": group.size}
        self.place = TrainingProgress()
        self.changed: list[dict[str, Any]] | None = None
        """After `resume`: why the state that was there is not gone on from; None when it is, or when there was none."""
        self._metrics: IO[str] | None = None
        if group.main:
            folder.mkdir(parents=True, exist_ok=True)

    def resume(self) -> dict[str, Any] | None:
        """Go to where an earlier run stopped: the state that it saved, or None to begin anew. Draws of chance go on
        as they would have."""
        state = self._saved()
        if state is not None:
            self.place = TrainingProgress(**state["place"])
            chance = state["chance"][self.group.rank]
            torch.set_rng_state(chance["cpu"])
            if chance["cuda"] is not None:
                torch.cuda.set_rng_state(chance["cuda"], self.group.device)
            logger.info("Going on from epoch %d, batch %d.", self.place.epoch + 1, self.place.batch + 1)
        if self.group.main:
            self._cut_metrics()
        return None if state is None else state["training"]

    def save(self, training: dict[str, Any]) -> None:
        """Write `training`, everything else that the rest of the run depends on, with the place and the state of
        chance. All processes call it."""
        cuda = torch.cuda.get_rng_state(self.group.device) if self.group.device.type == "cuda" else None
        chance = self.group.gather({"cpu": torch.get_rng_state(), "cuda": cuda})
        if self.group.main:
            state = {"fingerprint": self.mark, "place": asdict(self.place), "chance": chance, "training": training}
            save_resume(self.folder / RESUME, state | {"settings": self.settings})

    def note(self, line: dict[str, Any]) -> None:
        """One line of metrics, on the disk before the next step."""
        if self._metrics is not None:
            self._metrics.write(json.dumps(line) + "\n")
            self._metrics.flush()

    def __enter__(self) -> Self:
        if self.group.main:
            self._metrics = (self.folder / METRICS).open("a", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None

    def _saved(self) -> dict[str, Any] | None:
        with self.group.main_first():  # which sets an unreadable file aside
            state = load_resume(self.folder / RESUME)
        if state is not None and state.get("fingerprint") != self.mark:
            self.changed = differences(state.get("settings", {}), self.settings)
            named = "; ".join(_change(one) for one in self.changed[:5])
            logger.warning("The saved state is that of other data or settings; the training begins anew: %s.", named)
            return None
        return state

    def _cut_metrics(self) -> None:
        """Take back the lines of steps that a killed run made after its last saved state."""
        path = self.folder / METRICS
        lines = path.read_bytes().splitlines(keepends=True)[: self.place.step] if path.exists() else []
        path.write_bytes(b"".join(lines))


def _change(one: dict[str, Any]) -> str:
    if one["name"] == OTHER_DATA:
        return f"{OTHER_DATA} is another one"
    return f"{one['name']} was {one['before']!r} and is {one['now']!r}"
