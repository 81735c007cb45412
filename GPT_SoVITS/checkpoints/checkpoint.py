"""Checkpoints: our safetensors files, the originals' files of every kind, and resume files.

Nothing here ever unpickles freely: a voice file comes from strangers (specification s2-sovits §25.1).
"""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from GPT_SoVITS.checkpoints.atomic import replacing
from GPT_SoVITS.checkpoints.identify import KINDS, Checkpoint, fitting, identify, lora_rank, official_name, progress
from GPT_SoVITS.checkpoints.official_files import read_official, stored, write_official
from GPT_SoVITS.checkpoints.torch_archive import HEADERS, foreign, printable, read_header
from GPT_SoVITS.errors import ModelError

__all__ = [
    "KINDS",
    "Checkpoint",
    "describe",
    "fitting",
    "identify",
    "load_checkpoint",
    "load_resume",
    "lora_rank",
    "open_checkpoint",
    "read_official",
    "save_checkpoint",
    "save_resume",
    "write_official",
]

logger = logging.getLogger(__name__)

_DAMAGE = (RuntimeError, EOFError, ValueError, LookupError)
"""What torch raises for files that are cut or scrambled."""


def save_checkpoint(
    path: Path,
    *,
    kind: str,
    version: str,
    config: dict[str, Any],
    state: dict[str, Tensor],
    info: dict[str, Any],
    half: bool | None = True,
) -> str:
    """Write a safetensors file atomically and return its SHA-256 in hex; equal content gives equal bytes.

    `half` stores floating-point tensors as float16, as the official files do; None keeps every dtype. A tensor that
    float16 cannot hold raises ModelError("not_finite"): a voice of infinities is not written.
    """
    if kind not in KINDS:
        raise ModelError("bad_checkpoint", f"{kind!r} is no kind of checkpoint; there are {', '.join(KINDS)}.")
    header = {"kind": kind, "version": version, "config": config, "info": info}
    tensors = {name: stored(name, tensor, half) for name, tensor in state.items()}
    with replacing(path) as temporary:
        # One metadata entry: safetensors writes several in no particular order.
        save_file(tensors, temporary, {"sovitsd": json.dumps(header, sort_keys=True)})
        digest = _sha256(temporary)
    return digest


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a file of `save_checkpoint`; the weights are mapped, not copied. Raises ModelError("bad_checkpoint")."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["sovitsd"])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        checkpoint = Checkpoint(header["kind"], header["version"], header["config"], state, header["info"])
        _check_header(checkpoint)
        return checkpoint
    except FileNotFoundError as error:
        raise ModelError("no_checkpoint", f"There is no checkpoint at {path}.") from error
    except KeyError as error:
        raise ModelError(
            "bad_checkpoint",
            f"{path.name} is a safetensors file of another program: it does not say what model it holds.",
        ) from error
    except (SafetensorError, ValueError, TypeError, OSError) as error:
        found = foreign(read_header(path)) or f"is no whole safetensors file of ours ({printable(str(error))})"
        raise ModelError("bad_checkpoint", f"{path.name} {found}; a checkpoint was expected.") from error


def open_checkpoint(path: Path, *, kind: str | None = None, version: str | None = None) -> Checkpoint:
    """Read ours or an official file, told apart by the first two bytes.

    `kind` is what the caller needs: anything else raises ModelError("wrong_checkpoint"). `version` overrides what the
    file says, as far as its tensors allow it.
    """
    if read_header(path) in HEADERS:
        checkpoint = read_official(path, version=version)
    else:
        checkpoint = _as_version(path, load_checkpoint(path), version)
    if kind is not None and checkpoint.kind != kind:
        found = f"{checkpoint.version} {checkpoint.kind}".strip()
        raise ModelError("wrong_checkpoint", f"{path.name} holds {found} weights, and {kind} weights were expected.")
    return checkpoint


def describe(path: Path, *, version: str | None = None) -> dict[str, Any]:
    """What a file is, ready for JSON: kind, version, LoRA rank, sizes, dtypes, epoch, step, sum, config.

    Raises as `open_checkpoint` does.
    """
    checkpoint = open_checkpoint(path, version=version)
    official = read_header(path) in HEADERS
    epoch, step = progress(checkpoint.info)
    return {
        "file": path.name,
        "format": str(checkpoint.info.get("layout", "official")) if official else "safetensors",
        "kind": checkpoint.kind,
        "version": checkpoint.version,
        "lora_rank": lora_rank(checkpoint.state),
        "official_file": official_name(path) if official else "",
        "epoch": epoch,
        "step": step,
        "bytes": path.stat().st_size,
        "sha256": _sha256(path),
        "tensors": len(checkpoint.state),
        "parameters": sum(tensor.numel() for tensor in checkpoint.state.values()),
        "dtypes": dict(Counter(str(tensor.dtype).removeprefix("torch.") for tensor in checkpoint.state.values())),
        "info": checkpoint.info,
        "config": checkpoint.config,
    }


def save_resume(path: Path, state: dict[str, Any]) -> None:
    """Write a training state so that `path` holds either the old one or the new one, never a torn one."""
    with replacing(path) as temporary:
        torch.save(state, temporary)


def load_resume(path: Path) -> dict[str, Any] | None:
    """The state of an earlier run, or None. An unreadable file is kept beside it as `<name>.unreadable`, and said."""
    if not path.exists():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (*_DAMAGE, pickle.UnpicklingError, OSError) as error:
        aside = path.with_name(f"{path.name}.unreadable")
        path.replace(aside)
        logger.warning("The training state %s cannot be read (%s); it was set aside as %s.", path, error, aside.name)
        return None


def _check_header(checkpoint: Checkpoint) -> None:
    if checkpoint.kind not in KINDS:
        raise ValueError(f"it holds {checkpoint.kind!r}, which is no kind of checkpoint")
    for name, kind in (("version", str), ("config", dict), ("info", dict)):
        if not isinstance(getattr(checkpoint, name), kind):
            raise TypeError(f"its {name} is a {type(getattr(checkpoint, name)).__name__}")


def _as_version(path: Path, checkpoint: Checkpoint, version: str | None) -> Checkpoint:
    if version in (None, checkpoint.version):
        return checkpoint
    if checkpoint.version == "nano" or version not in fitting(checkpoint.state):
        raise ModelError(
            "wrong_checkpoint",
            f"{path.name} holds the {checkpoint.kind} weights of {checkpoint.version}, and {version} was asked for.",
        )
    return replace(checkpoint, version=version)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
