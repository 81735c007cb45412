"""The plan of one training of stage 2, as its RUN.json says it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from GPT_SoVITS.errors import ModelError

PATHS = ("data", "output", "base", "base_discriminator")
CHOICES = {"device": ("cpu", "cuda"), "precision": ("auto", "fp32", "bf16"), "compat": (None, "reference")}


@dataclass(frozen=True, slots=True)
class Plan:
    """What to train, on what, for how long."""

    version: str
    data: Path
    """The training-set folder (specification s2-sovits §14.1)."""
    output: Path
    """Where checkpoints, `resume.pt` and `metrics.jsonl` go."""
    epochs: int
    batch_size: int
    save_every_epoch: int
    base: Path | None = None
    """Weights to begin from, whose dimensions then hold; None begins from chance."""
    base_discriminator: Path | None = None
    seed: int = 1234
    threads: int = 1
    device: Literal["cpu", "cuda"] = "cpu"
    text_low_lr_rate: float | None = None
    """Share of the learning rate for the text side; None takes the recipe's."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compat: Literal["reference"] | None = None
    """`reference` repeats the reference's comparison of mels at the edges of a segment."""
    train: dict[str, Any] = field(default_factory=dict)
    """Changes to the recipe's `train` part."""

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read a RUN.json; entries of other trainings are passed over. Raises ModelError("bad_plan")."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            known = {name: value for name, value in content.items() if name in cls.__slots__}
            for name in PATHS:
                known[name] = None if known.get(name) is None else Path(known[name])
            plan = cls(**known)
            plan._check()
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ModelError("bad_plan", f"The plan {path} cannot be used: {error}.") from error
        return plan

    def _check(self) -> None:
        for name in ("data", "output"):
            if getattr(self, name) is None:
                raise ValueError(f"`{name}` is missing")
        for name, least in (("epochs", 0), ("batch_size", 1), ("save_every_epoch", 1), ("threads", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"`{name}` is {value!r}; whole numbers from {least} work")
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"`{name}` is {getattr(self, name)!r}; {allowed} work")

    def train_changes(self) -> dict[str, Any]:
        """What this plan changes in the recipe's `train` part."""
        low = {} if self.text_low_lr_rate is None else {"text_low_lr_rate": self.text_low_lr_rate}
        return low | self.train
