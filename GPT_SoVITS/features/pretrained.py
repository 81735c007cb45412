"""Feature models as the hub stores them: a folder with `config.json` and weights, opened without running its code."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from GPT_SoVITS.errors import ModelError

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
_DAMAGE = (OSError, RuntimeError, EOFError, ValueError, LookupError, pickle.UnpicklingError)


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's `config.json`. Raises ModelError "missing_part" or "bad_checkpoint"."""
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError("missing_part", f"There is no config.json in {folder}.") from error
    except (OSError, ValueError) as error:
        raise ModelError("bad_checkpoint", f"{path} cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise ModelError("bad_checkpoint", f"{path} holds no settings.")
    return content


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The folder's tensors, mapped from the file. Raises ModelError "missing_part" or as `read_state` does."""
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return read_state(folder / name)
    raise ModelError("missing_part", f"There is neither {' nor '.join(WEIGHT_FILES)} in {folder}.")


def read_state(path: Path) -> dict[str, Tensor]:
    """A file that is a bare state dict, mapped rather than copied; nothing in it is run.

    Raises ModelError "missing_part" when it is not there, "bad_checkpoint" when it is damaged or something else.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=_can_be_mapped(path))
    except FileNotFoundError as error:
        raise ModelError("missing_part", f"There is no file {path}.") from error
    except (*_DAMAGE, SafetensorError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError("bad_checkpoint", f"{path.name} cannot be read: {reason}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError("bad_checkpoint", f"{path.name} is no list of named tensors.")
    return state


def fill(model: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Give a model built on the meta device its weights in float32, those of the file itself where they fit.

    Raises ModelError "bad_checkpoint" that names the first tensor which is missing, too many or of another shape.
    """
    wanted = model.state_dict()
    different = sorted(set(wanted) ^ set(state)) or [name for name in wanted if wanted[name].shape != state[name].shape]
    if different:
        name = different[0]
        found = f"{list(state[name].shape)}" if name in state else "nothing"
        expected = f"{list(wanted[name].shape)}" if name in wanted else "nothing"
        raise ModelError("bad_checkpoint", f"{path} does not fit: {name} is {found} there, and {expected} is needed.")
    model.load_state_dict(
        {name: value.float() if value.is_floating_point() else value for name, value in state.items()}, assign=True
    )
    model.eval().requires_grad_(False)


def in_half(device: torch.device | str, half: bool | None) -> bool:
    """Whether to compute in float16: on CUDA unless told otherwise, never on a CPU, which has no fast way to."""
    on_cuda = torch.device(device).type == "cuda"
    return on_cuda if half is None else half and on_cuda


def _can_be_mapped(path: Path) -> bool:
    """Old files are plain pickles, which cannot be mapped."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"
