"""Read and write upstream's files of weights, in each of its layouts (s1-gpt §2, s2-sovits §2, s2-v3v4 §2)."""

from __future__ import annotations

import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.identify import (
    compatible_versions,
    determine_version,
    identify,
    lora_rank,
    training_progress,
)
from GPT_SoVITS.checkpoints.official_configs import gpt_config, sovits_config
from GPT_SoVITS.checkpoints.torch_archive import HParams, TorchArchive, open_archive, printable, write_archive
from GPT_SoVITS.errors import ModelError

HEADERS_BY_VERSION = {"v2Pro": b"05", "v2ProPlus": b"06"}
LORA_HEADERS = {"v3": b"03", "v4": b"04"}
POSTERIOR = "enc_q"
"""Part of the names that a fine-tuned file leaves out: they serve training alone."""
VOICE_KINDS = ("gpt", "sovits", "discriminator")
"""Kinds whose files have `weight` and differ from version to version; helpers' weights have no such wrapping."""
MAX_CONFIG_DEPTH, MAX_CONFIG_VALUES = 32, 100_000
"""Of a config; a few dozen levels of lists that share their elements would never end."""


def read_official(path: Path, *, version: str | None = None) -> Checkpoint:
    """Read an official or fine-tuned `.pth`, `.ckpt` or `.bin`, whatever its header, without running what it holds.

    Voices, their LoRA files, resume files, and bare weights of the helpers are recognized by their tensors, so a
    renamed file still loads; header, checksum and config matter only where the tensors do not say. The weights are
    mapped and keep their dtype. `info["official"]` is the file's text, `info["lora_rank"]` is there for a LoRA, and
    `info["layout"]` for anything but a voice.

    Args:
        version: Overrides what the file says, as far as the tensors allow it.

    Raises:
        ModelError: "no_checkpoint", "bad_checkpoint", "unsafe_checkpoint", "wrong_checkpoint" (the tensors contradict
            `version`) or "unknown_version" (nothing says whether it is v3 or v4).
    """
    archive = open_archive(path)
    mapping, config, info = _layout(archive)
    state = archive.map_tensors(mapping)
    kind, identified = identify(state)
    if not kind and config and "layout" not in info:  # a voice by its settings, whatever it holds
        kind = "sovits"
    if not kind:
        names = printable(", ".join(list(state)[:3])[:200])
        raise ModelError("bad_checkpoint", f"{path.name} holds weights of no model of this family: {names}, ….")
    if kind not in VOICE_KINDS:
        version = identified
    elif version is None:
        version = determine_version(path, state, config, archive.header)
    elif version not in compatible_versions(state):
        raise ModelError(
            "wrong_checkpoint",
            f"{path.name} holds the {kind} weights of {' or '.join(compatible_versions(state))}, and {version} was "
            "asked for.",
        )
    rank = lora_rank(state)
    if rank is not None:
        info["lora_rank"] = rank
    return Checkpoint(kind, version, config, state, info)


def write_official(
    path: Path,
    checkpoint: Checkpoint,
    *,
    half: bool | None = True,
    posterior: bool = False,
    plain_config: bool = False,
) -> None:
    """Write a file that upstream's programs load, atomically; equal content gives equal bytes.

    Helpers' weights are written without wrapping and as they are.

    Args:
        half: Store floating-point weights as float16, or as float32; None keeps every dtype.
        posterior: Keep what serves training alone.
        plain_config: Write the settings as plain mappings, which upstream's inference also reads, in place of
            upstream's class.

    Raises:
        ModelError: "no_official_form" for weights that upstream has no way to load, "not_finite" for what float16
            cannot hold.
    """
    check_official(checkpoint)
    if checkpoint.kind not in VOICE_KINDS:
        state = {name: stored_tensor(name, tensor, None) for name, tensor in checkpoint.state.items()}
        wrapped = (checkpoint.kind, checkpoint.version) in (("vocoder", "v3"), ("super_resolution", "v3"))
        write_archive(path, {"generator": state} if wrapped else state)
        return
    state = {
        name: stored_tensor(name, tensor, half)
        for name, tensor in checkpoint.state.items()
        if posterior or POSTERIOR not in name
    }
    if checkpoint.kind == "discriminator":
        write_archive(path, {"weight": state})
        return
    epoch, step = training_progress(checkpoint.info)
    if checkpoint.kind == "gpt":
        info = checkpoint.info.get("official") or f"GPT-e{epoch or 0}"
        weight, settings = OrderedDict(state), gpt_config(checkpoint.config)
        write_archive(path, OrderedDict(weight=weight, config=settings, info=info))
        return
    config = sovits_config(checkpoint.version, checkpoint.config)
    content = OrderedDict(
        weight=state,
        config=config if plain_config else _hparams(config),
        info=checkpoint.info.get("official") or f"{epoch or 0}epoch_{step or 0}iteration",
    )
    header = HEADERS_BY_VERSION.get(checkpoint.version, b"PK")
    rank = lora_rank(state)
    if rank is not None:
        content["lora_rank"] = rank
        header = LORA_HEADERS[checkpoint.version]
    write_archive(path, content, header)


def check_official(checkpoint: Checkpoint) -> None:
    """Raise ModelError("no_official_form") for what upstream would not know, or would confuse with something else."""
    whole = lora_rank(checkpoint.state) is None
    if checkpoint.version == "nano":
        reason = "nano is of this program's own making, and upstream has nothing like it"
    elif (checkpoint.kind, checkpoint.version) == ("sovits", "v4") and whole:
        reason = "upstream takes every whole v4 model but the official base for v3; it recognizes only a LoRA of v4"
    elif checkpoint.kind in VOICE_KINDS and checkpoint.version not in compatible_versions(checkpoint.state):
        reason = f"by their tensors the weights are not those of {checkpoint.version or 'any version'}"
    else:
        return
    raise ModelError(
        "no_official_form", f"There is no official file for this: {reason}.", hint="Keep it as safetensors."
    )


def stored_tensor(name: str, tensor: Tensor, half: bool | None) -> Tensor:
    """Return a tensor as it goes to disk: float16 or float32, as it is where `half` is None; integers as they are.

    Raises:
        ModelError: "not_finite".
    """
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        if half is not None:
            tensor = tensor.to(torch.float16 if half else torch.float32)
        if not torch.isfinite(tensor).all():
            raise ModelError("not_finite", f"The tensor {name} is not finite, so this checkpoint was not written.")
    return tensor.contiguous().clone()  # what shares memory would be stored as one


def _layout(archive: TorchArchive) -> tuple[object, dict[str, Any], dict[str, Any]]:
    """Return (name → tensor, config, info) of whatever upstream saves."""
    content = archive.content
    if not isinstance(content, dict):
        _raise_bad_layout(archive, f"holds a {type(content).__name__}")
    if isinstance(content.get("weight"), dict):
        return content["weight"], _config(archive, "config"), {"official": str(content.get("info", ""))}

    def integer(key: str) -> int | None:
        value = content.get(key)
        return value if isinstance(value, int) else None

    if isinstance(content.get("model"), dict) and "iteration" in content:
        return content["model"], {}, {"layout": "resume", "epoch": integer("iteration")}
    if isinstance(content.get("state_dict"), dict):
        config = _config(archive, "hyper_parameters")
        info = {"layout": "resume", "epoch": integer("epoch"), "step": integer("global_step")}
        return content["state_dict"], config.get("config", config), info
    if isinstance(content.get("generator"), dict):
        return content["generator"], {}, {"layout": "bare"}
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return content, {}, {"layout": "bare"}
    return _raise_bad_layout(archive, f"holds {', '.join(ascii(key) for key in list(content)[:6]) or 'nothing'}")


def _raise_bad_layout(archive: TorchArchive, content: str) -> NoReturn:
    raise ModelError(
        "bad_checkpoint",
        f"{archive.path.name} {content}, and a checkpoint holds `weight` with its config, or tensors alone.",
    )


def _config(archive: TorchArchive, key: str) -> dict[str, Any]:
    """Return a section of the content as plain nested dicts, ready for JSON; empty where there is none."""
    count = 0

    def convert(value: object, depth: int = 0) -> Any:
        nonlocal count
        count += 1
        if depth > MAX_CONFIG_DEPTH or count > MAX_CONFIG_VALUES:
            _raise_bad_layout(archive, "has settings without end")
        if isinstance(value, HParams):
            value = vars(value)
        if isinstance(value, dict):
            # Interned, as attributes are: a pickle stores a name that is one object once.
            return {sys.intern(str(name)): convert(item, depth + 1) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [convert(item, depth + 1) for item in value]
        return value if isinstance(value, str | int | float | bool | None) else str(value)

    section = convert(archive.content.get(key, {}))
    return section if isinstance(section, dict) else {}


def _hparams(config: dict[str, Any]) -> HParams:
    """Convert nested mappings to nested objects, as upstream keeps its settings."""
    settings = HParams()
    for name, value in config.items():
        vars(settings)[name] = _hparams(value) if isinstance(value, dict) else value
    return settings
