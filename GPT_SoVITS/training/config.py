"""The configuration of one training run, as its RUN.json gives it: the entries that every trainer shares."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from common.json_types import JsonObject
from GPT_SoVITS.errors import ModelError


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """What to train, on what, for how long. A trainer's own config adds entries and widens the class variables."""

    PATHS: ClassVar[tuple[str, ...]] = ("data", "output", "base")
    FLAGS: ClassVar[tuple[str, ...]] = ("grad_ckpt", "export_official")
    LEAST: ClassVar[dict[str, int]] = {
        "epochs": 0,
        "batch_size": 1,
        "save_every_epoch": 1,
        "threads": 1,
        "accumulate": 1,
        "processes": 1,
    }
    CHOICES: ClassVar[dict[str, tuple[str | None, ...]]] = {
        "device": ("cpu", "cuda"),
        "precision": ("auto", "fp32", "bf16", "fp16"),
        "compat": (None, "reference"),
    }

    version: str
    data: Path
    """The training-set folder (specification s1-gpt §12)."""
    output: Path
    """Where checkpoints, `resume.pt`, `metrics.jsonl` and `events/` are written."""
    epochs: int
    batch_size: int
    """Recordings per batch and process."""
    save_every_epoch: int
    save_minutes: float = 0.0
    """Minutes after which the state is saved within an epoch, too; 0 saves it only at the end of each."""
    base: Path | None = None
    """Weights to begin from, ours or official, whose dimensions then hold; None begins from random weights."""
    processes: int = 1
    """Processes of this host that train together, on as many GPUs or on the CPU; each has a batch of its own."""
    seed: int = 1234
    threads: int = 1
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compat: Literal["reference"] | None = None
    """`reference` repeats the errors of the upstream implementation; each trainer's config names them."""
    accumulate: int | None = None
    """Batches whose gradients make one update; None takes the recipe's."""
    grad_ckpt: bool = False
    """Whether layers are computed a second time for the gradient, which takes time and saves memory."""
    export_official: bool = False
    """Whether every saved epoch is also written as an official file."""
    name: str = ""
    """The stem of official file names; empty takes the data folder's name."""
    train: JsonObject = field(default_factory=dict)
    """Changes to the recipe's `train` section."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a RUN.json; entries of other trainers are ignored.

        Raises:
            ModelError: "bad_plan": the file is not readable, or an entry is missing or out of range.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            values: dict[str, Any] = {entry.name: content[entry.name] for entry in fields(cls) if entry.name in content}
            for name in cls.PATHS:
                values[name] = None if values.get(name) is None else Path(values[name])
            config = cls(**values)
            config.check()
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ModelError("bad_plan", f"The plan {path} cannot be used: {error}.") from error
        return config

    def check(self) -> None:
        """Raise ValueError for an entry that is missing or out of range."""
        for name in ("data", "output"):
            if getattr(self, name) is None:
                raise ValueError(f"`{name}` is missing")
        for name, least in self.LEAST.items():
            value = getattr(self, name)
            optional = name == "accumulate" and value is None
            if not optional and (not isinstance(value, int) or value < least):
                raise ValueError(f"`{name}` is {value!r}; whole numbers from {least} work")
        if not isinstance(self.save_minutes, int | float) or not self.save_minutes >= 0:
            raise ValueError(f"`save_minutes` is {self.save_minutes!r}; numbers from 0 work")
        for name in self.FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"`{name}` is {getattr(self, name)!r}; true and false work")
        for name, allowed in self.CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"`{name}` is {getattr(self, name)!r}; {allowed} work")

    @property
    def experiment(self) -> str:
        """The name that official files carry."""
        return self.name or self.data.name
