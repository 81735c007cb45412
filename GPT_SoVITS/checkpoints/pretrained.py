"""Read pretrained helper networks and vocoders as the hub stores them, without running what their files hold.

The networks of a user's voice are read by `checkpoint_files`, which trusts their files less.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from GPT_SoVITS.device_precision import device_precision
from GPT_SoVITS.errors import ModelError

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
DAMAGE = (OSError, RuntimeError, EOFError, ValueError, LookupError)
"""What torch raises for files that are cut or scrambled."""


def read_config(path: Path, *, damage_code: str = "bad_checkpoint") -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ModelError: "missing_part" when there is no such file, `damage_code` when it is something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError("missing_part", f"There is no {path.name} in {path.parent}.") from error
    except (OSError, ValueError) as error:
        raise ModelError(damage_code, f"{path.name} in {path.parent} cannot be read: {error}.") from error
    if not isinstance(content, dict):
        raise ModelError(damage_code, f"{path.name} in {path.parent} holds no settings but a {type(content).__name__}.")
    return content


def find_weights(folder: Path) -> Path:
    """Return the file of weights in a hub folder. Raises ModelError("missing_part")."""
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    raise ModelError("missing_part", f"There is neither {' nor '.join(WEIGHT_FILES)} in {folder}.")


def read_state(
    path: Path, *, entry: str = "", damage_code: str = "bad_checkpoint", unsafe_code: str = "bad_checkpoint"
) -> dict[str, Tensor]:
    """Read a file of named tensors, mapped rather than copied where its format allows it.

    Args:
        path: A safetensors file, or one of `torch.save` that holds a state dict.
        entry: Key under which the state dict may be, too.

    Raises:
        ModelError: "missing_part" when there is no such file, `unsafe_code` when it wants more than tensors,
            `damage_code` when it is damaged or something else.
    """
    if not path.is_file():
        raise ModelError("missing_part", f"There is no {path.name} in {path.parent}.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Files from before torch 1.6 are plain pickles, which cannot be mapped.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (*DAMAGE, SafetensorError, pickle.UnpicklingError) as error:
        code = unsafe_code if isinstance(error, pickle.UnpicklingError) else damage_code
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(code, f"{path.name} cannot be read: {reason}") from error
    if isinstance(content, dict) and entry and isinstance(content.get(entry), dict):
        content = content[entry]
    if not isinstance(content, dict) or not content or not all(isinstance(t, Tensor) for t in content.values()):
        where = f"under the key {entry!r}" if entry else "by their names"
        raise ModelError(damage_code, f"{path.name} was expected to hold weights {where}; it does not.")
    return content


def assign_weights(
    model: nn.Module, state: Mapping[str, Tensor], *, source: str, error_code: str = "bad_checkpoint"
) -> None:
    """Give a network that was built without weights those of a file, without a copy, and make it ready for inference.

    `source` names the file in the error.

    Raises:
        ModelError: `error_code` when a tensor is missing, too many or of another shape.
    """
    expected = model.state_dict()
    missing = [name for name in expected if name not in state]
    surplus = [name for name in state if name not in expected]
    reshaped = [name for name in expected if name in state and state[name].shape != expected[name].shape]
    differences = []
    if missing:
        differences.append(f"{len(missing)} tensors are missing ({missing[0]}, …)")
    if surplus:
        differences.append(f"{len(surplus)} are not known ({surplus[0]}, …)")
    if reshaped:
        actual, needed = list(state[reshaped[0]].shape), list(expected[reshaped[0]].shape)
        differences.append(f"{reshaped[0]} is {actual} there, and {needed} is needed")
    if differences:
        raise ModelError(
            error_code, f"The weights of {source} do not fit their configuration: {'; '.join(differences)}."
        )
    model.load_state_dict(dict(state), strict=True, assign=True)
    model.eval().requires_grad_(False)


def in_float32(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert floating-point tensors to float32; those that are float32 are not copied."""
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def use_half(device: torch.device | str, half: bool | None) -> bool:
    """Return whether to compute in float16: by default on a GPU that is fast at it, never on a CPU."""
    on_cuda = torch.device(device).type == "cuda"
    return on_cuda and (device_precision(device) != "fp32" if half is None else half)
