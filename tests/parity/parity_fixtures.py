"""Finds and reads the fixtures under `PARITY_DIR` (default: the copies beside this file).

A fixture's kind is the end of its file's stem, so `night_train_ce.npz` is a `train_ce`; folders may nest. What is asked
for here counts as read, and test_parity_every_fixture.py fails for a file that nobody asks for.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

BUNDLED = Path(__file__).parent / "fixtures"
ROOT = Path(os.environ.get("PARITY_DIR", BUNDLED)).absolute()
READ: set[Path] = set()
"""Every file that some test asked for."""


def find(
    kind: str, *, suffix: str = ".npz", having: str = "", where: Callable[[Path], bool] | None = None
) -> list[Path]:
    """Return the files of a kind with an entry `having` that `where` accepts; now counted as read."""
    paths = [
        path
        for path in sorted(ROOT.rglob(f"*{suffix}"))
        if path.name.removesuffix(suffix).endswith(kind)
        and (not having or has(path, having))
        and (where is None or where(path))
    ]
    READ.update(paths)
    return paths


def fixtures(
    kind: str, *, suffix: str = ".npz", having: str = "", where: Callable[[Path], bool] | None = None
) -> list[Any]:
    """Return what `find` finds as parameters of a test, or one skip that says that there is none."""
    paths = find(kind, suffix=suffix, having=having, where=where)
    if not paths:
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no {kind}{suffix} under {ROOT}"))]
    return [
        pytest.param(path, id=str(path.relative_to(ROOT)), marks=[pytest.mark.slow] if "full_" in path.stem else [])
        for path in paths
    ]


def companion(path: Path, name: str) -> Path:
    """Return a file or folder beside the fixture or one folder up; counted as read with all it holds."""
    for folder in (path.parent, path.parent.parent):
        entry = folder / name
        if entry.exists():
            READ.update(file for file in entry.rglob("*") if file.is_file()) if entry.is_dir() else READ.add(entry)
            return entry
    raise FileNotFoundError(f"{path.name} needs {name} beside it or one folder up.")


def has(path: Path, entry: str) -> bool:
    with np.load(path) as arrays:
        return entry in arrays.files


class Fixture:
    """One .npz: tensors by name, floats in float32."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with np.load(path) as arrays:
            self.arrays = {name: arrays[name] for name in arrays.files}
        self.config = self._config()

    def __getitem__(self, name: str) -> torch.Tensor:
        tensor = torch.from_numpy(self.arrays[name])
        return tensor.float() if tensor.dtype == torch.float16 else tensor

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def get(self, name: str) -> torch.Tensor | None:
        return self[name] if name in self.arrays else None

    def json(self, name: str) -> Any:
        """Return an entry that is text: a string, or its UTF-8 bytes."""
        array = self.arrays[name]
        return json.loads(bytes(array) if array.dtype == np.uint8 else str(array))

    def names(self, start: str = "") -> list[str]:
        return [name for name in self.arrays if name.startswith(start)]

    def state(self, prefix: str = "state/") -> dict[str, torch.Tensor]:
        return {name.removeprefix(prefix): self[name] for name in self.names(prefix)}

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
        expected = self[name].flatten()
        return torch.from_numpy(self.seeds.digest(x.detach().numpy(), len(expected) - 5))[5:], expected[5:]

    def _config(self) -> dict[str, Any]:
        for name in ("config_json", "config"):
            if name in self.arrays:
                return self.json(name)
        return {}


@cache
def seeded_weights(folder: Path = BUNDLED) -> ModuleType:
    """Return the program that makes weights from seeds, that of the fixture's own folder first."""
    places = (*(place / "seeded_weights.py" for place in (folder, *folder.parents)), BUNDLED / "s2/seeded_weights.py")
    path = next(place for place in places if place.exists())
    specification = importlib.util.spec_from_file_location("seeded_weights", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest difference relative to the largest value."""
    assert ours.shape == theirs.shape
    return float((ours.detach().double() - theirs.double()).abs().max() / theirs.double().abs().max())


def absolute_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest difference relative to the largest value or to 1, whichever is more (the fixtures of v3 and v4)."""
    assert ours.shape == theirs.shape
    difference = (ours.detach().double() - theirs.double()).abs().max()
    return float(difference / theirs.double().abs().max().clamp_min(1.0))
