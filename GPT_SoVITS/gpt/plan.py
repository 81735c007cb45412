"""The plan of one training, as its RUN.json says it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from GPT_SoVITS.errors import ModelError


@dataclass(frozen=True, slots=True)
class Plan:
    """What to train, on what, for how long."""

    version: str
    data: Path
    """The training-set folder (specification s1-gpt §12)."""
    output: Path
    """Where checkpoints, `resume.pt` and `metrics.jsonl` go."""
    epochs: int
    batch_size: int
    save_every_epoch: int
    base: Path | None = None
    """Weights to begin from, whose dimensions then hold; None begins from chance."""
    seed: int = 1234
    threads: int = 1
    device: Literal["cpu", "cuda"] = "cpu"
    dpo: bool = False
    """Whether the preference over damaged rows is added."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compat: Literal["reference"] | None = None
    """`reference` repeats the reference's mask, accumulation and learning rates, with their defects."""
    train: dict[str, Any] = field(default_factory=dict)
    """Changes to the recipe's `train` part."""

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Read a RUN.json; entries of other trainings are passed over. Raises ModelError("bad_plan")."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            known = {name: value for name, value in content.items() if name in cls.__slots__}
            for name in ("data", "output", "base"):
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
        choices = {
            "device": ("cpu", "cuda"),
            "precision": ("auto", "fp32", "bf16"),
            "compat": (None, "reference"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"`{name}` is {getattr(self, name)!r}; {allowed} work")
