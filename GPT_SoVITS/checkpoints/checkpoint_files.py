"""Save checkpoints as safetensors files, and open those and upstream's files of every kind.

Nothing here unpickles freely: a voice file is untrusted (specification s2-sovits §25.1).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from common.files import atomic_path, sha256_of_file
from GPT_SoVITS.checkpoints.checkpoint import KINDS, Checkpoint
from GPT_SoVITS.checkpoints.identify import compatible_versions, lora_rank, official_name, training_progress
from GPT_SoVITS.checkpoints.official_files import read_official, stored_tensor
from GPT_SoVITS.checkpoints.torch_archive import HEADERS, describe_foreign, printable, read_header
from GPT_SoVITS.errors import ModelError


class CheckpointDescription(TypedDict):
    """What a file of weights is, ready for JSON."""

    file: str
    format: str
    """`safetensors`, or the layout of an official file."""
    kind: str
    version: str
    lora_rank: int | None
    official_file: str
    """Path of the official file that begins with the same bytes, or empty."""
    epoch: int | None
    step: int | None
    bytes: int
    sha256: str
    tensors: int
    parameters: int
    dtypes: dict[str, int]
    """Number of tensors of each dtype."""
    info: dict[str, Any]
    config: dict[str, Any]


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, half: bool | None = True) -> str:
    """Write a safetensors file atomically and return its SHA-256 in hex; equal content gives equal bytes.

    Args:
        half: Store floating-point tensors as float16, as the official files do, or as float32; None keeps every dtype.

    Raises:
        ModelError: "bad_checkpoint" for an unknown kind; "not_finite" for a tensor that has values which are not, or
            that float16 cannot hold.
    """
    if checkpoint.kind not in KINDS:
        raise ModelError(
            "bad_checkpoint", f"{checkpoint.kind!r} is no kind of checkpoint; there are {', '.join(KINDS)}."
        )
    header = {
        "kind": checkpoint.kind,
        "version": checkpoint.version,
        "config": checkpoint.config,
        "info": checkpoint.info,
    }
    tensors = {name: stored_tensor(name, tensor, half) for name, tensor in checkpoint.state.items()}
    with atomic_path(path, durable=True) as temporary:
        # One metadata entry: safetensors writes several in no particular order.
        save_file(tensors, temporary, {"sovitsd": json.dumps(header, sort_keys=True)})
        return sha256_of_file(temporary)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a file of `save_checkpoint`; the weights are mapped, not copied.

    Raises:
        ModelError: "no_checkpoint" or "bad_checkpoint".
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["sovitsd"])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        checkpoint = Checkpoint(header["kind"], header["version"], header["config"], state, header["info"])
        if checkpoint.kind not in KINDS:
            raise ValueError(f"it holds {checkpoint.kind!r}, which is no kind of checkpoint")
        for name, kind in (("version", str), ("config", dict), ("info", dict)):
            if not isinstance(getattr(checkpoint, name), kind):
                raise TypeError(f"its {name} is a {type(getattr(checkpoint, name)).__name__}")
        return checkpoint
    except FileNotFoundError as error:
        raise ModelError("no_checkpoint", f"There is no checkpoint at {path}.") from error
    except KeyError as error:
        raise ModelError(
            "bad_checkpoint",
            f"{path.name} is a safetensors file of another program: it does not say what model it holds.",
        ) from error
    except (SafetensorError, ValueError, TypeError, OSError, RecursionError) as error:
        reason = (
            describe_foreign(read_header(path)) or f"is no whole safetensors file of ours ({printable(str(error))})"
        )
        raise ModelError("bad_checkpoint", f"{path.name} {reason}; a checkpoint was expected.") from error


def open_checkpoint(path: Path, *, kind: str | None = None, version: str | None = None) -> Checkpoint:
    """Read a file of ours or an official one, told apart by the first two bytes.

    Args:
        kind: The kind that the caller needs.
        version: Overrides what the file says, as far as its tensors allow it.

    Raises:
        ModelError: "wrong_checkpoint" for another kind or version, and those of `load_checkpoint` and `read_official`.
    """
    if read_header(path) in HEADERS:
        checkpoint = read_official(path, version=version)
    else:
        checkpoint = load_checkpoint(path)
        if version not in (None, checkpoint.version):
            if checkpoint.version == "nano" or version not in compatible_versions(checkpoint.state):
                raise ModelError(
                    "wrong_checkpoint",
                    f"{path.name} holds the {checkpoint.kind} weights of {checkpoint.version}, and {version} was asked "
                    "for.",
                )
            checkpoint = replace(checkpoint, version=version)
    if kind is not None and checkpoint.kind != kind:
        content = f"{checkpoint.version} {checkpoint.kind}".strip()
        raise ModelError("wrong_checkpoint", f"{path.name} holds {content} weights, and {kind} weights were expected.")
    return checkpoint


def describe_checkpoint(path: Path, *, version: str | None = None) -> CheckpointDescription:
    """Return what a file is: kind, version, LoRA rank, sizes, dtypes, epoch, step, SHA-256, config.

    Raises:
        ModelError: as `open_checkpoint` does.
    """
    checkpoint = open_checkpoint(path, version=version)
    official = read_header(path) in HEADERS
    epoch, step = training_progress(checkpoint.info)
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
        "sha256": sha256_of_file(path),
        "tensors": len(checkpoint.state),
        "parameters": sum(tensor.numel() for tensor in checkpoint.state.values()),
        "dtypes": dict(Counter(str(tensor.dtype).removeprefix("torch.") for tensor in checkpoint.state.values())),
        "info": checkpoint.info,
        "config": checkpoint.config,
    }
