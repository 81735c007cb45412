"""What a training run records: its progress, the state to resume from (`resume.pt`) and `metrics.jsonl`."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypedDict

import torch

from common.json_types import JsonObject, JsonValue
from GPT_SoVITS.checkpoints.resume_files import load_resume, save_resume
from GPT_SoVITS.training.config import TrainingConfig
from GPT_SoVITS.training.distributed import ProcessGroup

logger = logging.getLogger(__name__)

RESUME = "resume.pt"
METRICS = "metrics.jsonl"
IRRELEVANT_SETTINGS = (
    *("data", "output", "epochs", "save_every_epoch", "threads", "export_official", "name", "train"),
    *("precision", "grad_ckpt", "save_minutes"),
)
"""Entries of a config that may differ on resume: they do not decide the results, or the recipe holds them."""
OTHER_DATA = "the training set"

TrainerState = dict[str, Any]
"""Tensors and plain values by name, as torch saves them: everything that the rest of a run depends on."""


class SettingChange(TypedDict):
    """A setting that differs between a saved state and the current run."""

    name: str
    before: JsonValue
    now: JsonValue


def fingerprint(*content: Any) -> str:
    """Return a hash that tells whether a saved state belongs to a run.

    The content is everything that decides the results, except the number of epochs, which may be raised later. It must
    be serializable as JSON; a file that it names counts by its content, so that another host can resume.
    """
    parts = [[_hash_file(item) for item in part] if isinstance(part, list) else _hash_file(part) for part in content]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def settings_of(config: TrainingConfig, recipe: Mapping[str, Any]) -> JsonObject:
    """Return the settings of a run and its recipe by name, so that a saved state can say which one has changed."""
    settings = {
        entry.name: _hash_file(getattr(config, entry.name))
        for entry in fields(config)
        if entry.name not in IRRELEVANT_SETTINGS
    }
    flat: JsonObject = json.loads(json.dumps({**settings, **_flatten(recipe)}, default=str))
    return flat


def differences(before: Mapping[str, JsonValue], now: Mapping[str, JsonValue]) -> list[SettingChange]:
    """Return the settings that differ; where none does, the training set must."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    return [SettingChange(name=name, before=before.get(name), now=now.get(name)) for name in names] or [
        SettingChange(name=OTHER_DATA, before=None, now=None)
    ]


def _hash_file(value: Any) -> Any:
    """Replace the path of a file by its name and checksum; other values stay."""
    if not isinstance(value, str | Path) or not os.path.isabs(value) or not os.path.isfile(value):
        return value
    with open(value, "rb") as file:
        return f"{os.path.basename(value)} (SHA-256 {hashlib.file_digest(file, 'sha256').hexdigest()})"


def _flatten(recipe: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in recipe.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


@dataclass(slots=True)
class TrainingProgress:
    """How far a training is, and the losses of its epochs."""

    epoch: int = 0
    """Finished epochs."""
    batch: int = 0
    """Finished steps of the current epoch."""
    step: int = 0
    """Finished steps in total."""
    sums: dict[str, list[float]] = field(default_factory=dict)
    """Loss name -> its weighted sum over this epoch and the sum of the weights; some losses start late."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Mean losses of each finished epoch."""
    saved: list[int] = field(default_factory=list)
    """Epochs, from 1, whose checkpoints were written."""
    ended: bool = False
    """Whether the training was ended with its last epoch, before the configured number."""

    def advance(self, losses: Mapping[str, float], weight: float = 1.0) -> None:
        """Count a step, whose losses have this weight in the epoch's means."""
        for name, loss in losses.items():
            total, count = self.sums.get(name, (0.0, 0.0))
            self.sums[name] = [total + loss * weight, count + weight]
        self.batch += 1
        self.step += 1

    def end_epoch(self) -> dict[str, float]:
        """Close the epoch and return its mean losses."""
        self.history.append({name: total / count for name, (total, count) in self.sums.items()})
        self.sums = {}
        self.epoch, self.batch = self.epoch + 1, 0
        return self.history[-1]


class RunRecorder:
    """`resume.pt` and `metrics.jsonl` in a training's output folder; the group's main process writes them."""

    def __init__(
        self, folder: Path, run_fingerprint: str, group: ProcessGroup, settings: Mapping[str, JsonValue] | None = None
    ) -> None:
        """Record a run of this `fingerprint` and with the settings of `settings_of`."""
        self.folder = folder
        self.fingerprint = fingerprint(run_fingerprint, group.size)
        self.group = group
        self.settings: JsonObject = {**(settings or {}), "processes": group.size}
        self.progress = TrainingProgress()
        self.changed: list[SettingChange] | None = None
        """After `resume`: why a saved state was not resumed; None when it was, or when there was none."""
        self._metrics: IO[str] | None = None
        self._saved_at = time.monotonic()
        if group.main:
            folder.mkdir(parents=True, exist_ok=True)

    def resume(self) -> TrainerState | None:
        """Restore the progress and the random generators of an earlier run.

        Returns:
            The trainer's state as it was saved, or None to begin anew.
        """
        with self.group.main_first():  # the main process moves an unreadable file aside
            state = load_resume(self.folder / RESUME)
        if state is not None and state.get("fingerprint") != self.fingerprint:
            self.changed = differences(state.get("settings", {}), self.settings)
            reasons = "; ".join(
                f"{OTHER_DATA} is another one"
                if change["name"] == OTHER_DATA
                else f"{change['name']} was {change['before']!r} and is {change['now']!r}"
                for change in self.changed[:5]
            )
            logger.warning("The saved state is that of other data or settings; the training begins anew: %s.", reasons)
            state = None
        if state is not None:
            self.progress = TrainingProgress(**state["place"])
            generators = state["chance"][self.group.rank]
            torch.set_rng_state(generators["cpu"])
            if generators["cuda"] is not None:
                torch.cuda.set_rng_state(generators["cuda"], self.group.device)
            logger.info("Going on from epoch %d, batch %d.", self.progress.epoch + 1, self.progress.batch + 1)
        if self.group.main:  # drop the metrics of steps that a killed run made after its last saved state
            path = self.folder / METRICS
            lines = path.read_bytes().splitlines(keepends=True)[: self.progress.step] if path.exists() else []
            path.write_bytes(b"".join(lines))
        return None if state is None else state["training"]

    def is_due(self, minutes: float) -> bool:
        """Return whether the last state is older than that; 0 minutes: never, and only the main process says when."""
        return self.group.main and 0 < minutes <= (time.monotonic() - self._saved_at) / 60

    def save(self, training: TrainerState) -> None:
        """Write the trainer's state with the progress and the random generators; all processes call this."""
        cuda = torch.cuda.get_rng_state(self.group.device) if self.group.device.type == "cuda" else None
        generators = self.group.gather({"cpu": torch.get_rng_state(), "cuda": cuda})
        if self.group.main:
            state = {
                "fingerprint": self.fingerprint,
                "place": asdict(self.progress),
                "chance": generators,
                "training": training,
            }
            save_resume(self.folder / RESUME, state | {"settings": self.settings})
        self._saved_at = time.monotonic()

    def write_metrics(self, line: Mapping[str, JsonValue]) -> None:
        """Append a line of metrics and flush it."""
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
