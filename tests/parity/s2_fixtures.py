"""Finds and reads the fixtures of parity/s2.

They are looked for in the folder of PARITY_DIR, nested ones too; the end of a file's stem tells its kind.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

BUNDLED = Path(__file__).parent / "fixtures"
ROOT = Path(os.environ.get("PARITY_DIR", BUNDLED))


def fixtures(kind: str, having: str = "") -> list:
    """Every fixture of a kind (a pattern for the end of the stem) with that entry, or one skip that says that there
    is none."""
    found = [path for path in sorted(ROOT.rglob("*")) if _is(path, kind) and _has(path, having)]
    if not found:
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no {kind} under {ROOT}"))]
    return [
        pytest.param(path, id=str(path.relative_to(ROOT)), marks=[pytest.mark.slow] if "full_" in path.stem else [])
        for path in found
    ]


def _is(path: Path, kind: str) -> bool:
    if path.suffix not in (".npz", ".json", ".pth") or not re.search(f"{kind}$", path.stem):
        return False
    # Other stages have files of this name, too; stage 2 names its versions.
    return kind != "official_shapes" or "G_v2" in path.read_text()


def _has(path: Path, name: str) -> bool:
    if not name:
        return True
    with np.load(path) as arrays:
        return name in arrays.files


class Fixture:
    """One .npz: tensors by name, floats in float32."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with np.load(path) as arrays:
            self.arrays = {name: arrays[name] for name in arrays.files}
        self.config = json.loads(bytes(self.arrays["config_json"])) if "config_json" in self.arrays else {}

    def __getitem__(self, name: str) -> torch.Tensor:
        tensor = torch.from_numpy(self.arrays[name])
        return tensor.float() if tensor.dtype == torch.float16 else tensor

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def get(self, name: str) -> torch.Tensor | None:
        return self[name] if name in self.arrays else None

    def state(self, prefix: str = "state/") -> dict[str, torch.Tensor]:
        return {name.removeprefix(prefix): self[name] for name in self.arrays if name.startswith(prefix)}

    @property
    def seeds(self) -> ModuleType:
        return seeded_weights(self.path.parent)

    def fill(self, model: nn.Module, seed: int, *, f16: bool = False) -> None:
        """Give a model its seeded weights."""
        shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        state = self.seeds.state(seed, shapes, f16)
        model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})

    def digests(self, x: torch.Tensor, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """(ours, theirs): the sampled values of a digest."""
        wanted = self[name].flatten()
        return torch.from_numpy(self.seeds.digest(x.detach().numpy(), len(wanted) - 5))[5:], wanted[5:]


@cache
def seeded_weights(folder: Path) -> ModuleType:
    """The program that makes weights from seeds, that of the fixture's own folder first."""
    places = (*(f / "seeded_weights.py" for f in (folder, *folder.parents)), BUNDLED / "s2" / "seeded_weights.py")
    path = next(place for place in places if place.exists())
    specification = importlib.util.spec_from_file_location("seeded_weights", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest difference relative to the largest value."""
    assert ours.shape == theirs.shape
    return float((ours.detach().double() - theirs.double()).abs().max() / theirs.double().abs().max())
