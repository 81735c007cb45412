"""Reads the weights and settings of vocoders without ever running what a file holds."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from GPT_SoVITS.errors import ModelError

_DAMAGE = (RuntimeError, EOFError, ValueError, LookupError)
"""What torch raises for files that are cut or scrambled."""


def read_weights(path: Path, *, entry: str = "") -> dict[str, Tensor]:
    """The state dict in a torch file, or the one under its key `entry`; mapped where the format allows it.

    Raises ModelError: "missing_part" when there is no such file, "unsafe_checkpoint" when it wants more than tensors,
    "bad_vocoder" when it is damaged or holds no weights.
    """
    if not path.is_file():
        raise ModelError("missing_part", f"There is no {path.name} in {path.parent}.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise ModelError(
            "unsafe_checkpoint",
            f"{path.name} holds more than weights, so it was not opened: {str(error).splitlines()[0]}",
        ) from error
    except _DAMAGE as error:
        raise ModelError("bad_vocoder", f"{path.name} is damaged: {error}") from error
    if isinstance(content, dict) and entry and isinstance(content.get(entry), dict):
        content = content[entry]
    if not isinstance(content, dict) or not content or not all(isinstance(t, Tensor) for t in content.values()):
        wanted = f"under the key {entry!r}" if entry else "by their names"
        raise ModelError("bad_vocoder", f"{path.name} was expected to hold weights {wanted}; it does not.")
    return content


def read_config(path: Path) -> dict[str, Any]:
    """A JSON object. Raises ModelError("missing_part" or "bad_vocoder")."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError("missing_part", f"There is no {path.name} in {path.parent}.") from error
    except (OSError, ValueError) as error:
        raise ModelError("bad_vocoder", f"{path.name} in {path.parent} is not readable as JSON: {error}.") from error
    if not isinstance(config, dict):
        raise ModelError(
            "bad_vocoder", f"{path.name} in {path.parent} holds no settings but a {type(config).__name__}."
        )
    return config


def fill(model: nn.Module, state: Mapping[str, Tensor], *, file: str) -> None:
    """Give a model built on the meta device its weights, without a copy; ready for inference afterwards.

    Raises ModelError("bad_vocoder") that names what is missing, left over or of another shape.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if wanted != found:
        raise ModelError("bad_vocoder", f"{file} does not fit its description: {_difference(wanted, found)}.")
    model.load_state_dict(dict(state), strict=True, assign=True)
    model.eval().requires_grad_(False)


def _difference(wanted: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> str:
    missing = [name for name in wanted if name not in found]
    surplus = [name for name in found if name not in wanted]
    parts = [f"{len(missing)} weights are missing ({missing[0]}, …)"] if missing else []
    parts += [f"{len(surplus)} are not known ({surplus[0]}, …)"] if surplus else []
    other = next((name for name in wanted if name in found and wanted[name] != found[name]), None)
    if other is not None:
        parts.append(f"{other} has shape {list(found[other])} in place of {list(wanted[other])}")
    return "; ".join(parts)
