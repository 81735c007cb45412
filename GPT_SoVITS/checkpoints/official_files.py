"""The original's files of weights, in every layout that it reads or writes (s1-gpt §2, s2-sovits §2, s2-v3v4 §2)."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from GPT_SoVITS.checkpoints.identify import Checkpoint, fitting, identify, lora_rank, progress, settle_version
from GPT_SoVITS.checkpoints.official_configs import gpt_config, sovits_config
from GPT_SoVITS.checkpoints.torch_archive import Container, HParams, printable, read_container, write_container
from GPT_SoVITS.errors import ModelError

MARKS = {"v2Pro": b"05", "v2ProPlus": b"06"}
LORA_MARKS = {"v3": b"03", "v4": b"04"}
POSTERIOR = "enc_q"
"""Part of the names that a fine-tuned file leaves out: they serve training alone."""
VOICE_KINDS = ("gpt", "sovits", "discriminator")
"""Kinds whose files have `weight` and differ from version to version; the helpers' weights lie bare."""
_DEEPEST, _MOST = 32, 100_000
"""Levels and values of a config; a few dozen levels of lists that share their elements would never end."""


def read_official(path: Path, *, version: str | None = None) -> Checkpoint:
    """Read an official or fine-tuned `.pth`, `.ckpt` or `.bin`, whatever its header, without running what it holds.

    Voices, their LoRA files, resume files, and bare weights of the helpers are known by their tensors, so a renamed
    file still loads; header, sum and config are asked only where the tensors do not say. The weights are mapped and
    keep their dtype. `version` overrides what the file says, as far as the tensors allow it. `info["official"]` is
    the file's text, `info["lora_rank"]` is there for a LoRA, and `info["layout"]` for anything but a voice.
    Raises ModelError with code "no_checkpoint", "bad_checkpoint", "unsafe_checkpoint", "wrong_checkpoint" (the tensors
    contradict `version`) or "unknown_version" (nothing says whether it is v3 or v4).
    """
    container = read_container(path)
    mapping, config, info = _layout(container)
    state = container.state(mapping)
    kind, found = identify(state)
    if not kind and config and "layout" not in info:  # a voice by its settings, whatever it holds
        kind = "sovits"
    if not kind:
        names = printable(", ".join(list(state)[:3])[:200])
        raise ModelError("bad_checkpoint", f"{path.name} holds weights of no model of this family: {names}, ….")
    if kind not in VOICE_KINDS:
        version = found
    elif version is None:
        version = settle_version(path, state, config, container.header)
    elif version not in fitting(state):
        raise ModelError(
            "wrong_checkpoint",
            f"{path.name} holds the {kind} weights of {' or '.join(fitting(state))}, and {version} was asked for.",
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
    """Write a file that the original programs load, atomically; equal content gives equal bytes.

    Floating-point weights become float16, float32 where `half` is false, or stay where it is None. What serves
    training alone is left out unless `posterior`; the settings are the original's object unless `plain_config`, which
    its inference also reads. Helpers' weights are written bare and as they are. Raises ModelError with code
    "no_official_form" for weights that the originals have no way to load, "not_finite" for what float16 cannot hold.
    """
    check_official(checkpoint)
    write = {"gpt": _gpt, "sovits": _sovits, "discriminator": _discriminator}.get(checkpoint.kind)
    if write is None:
        state = {name: stored(name, tensor, None) for name, tensor in checkpoint.state.items()}
        wrapped = (checkpoint.kind, checkpoint.version) in (("vocoder", "v3"), ("super_resolution", "v3"))
        write_container(path, {"generator": state} if wrapped else state)
        return
    kept = {name: tensor for name, tensor in checkpoint.state.items() if posterior or POSTERIOR not in name}
    state = {name: stored(name, tensor, half) for name, tensor in kept.items()}
    header, content = write(checkpoint, state, plain_config)
    write_container(path, content, header)


def check_official(checkpoint: Checkpoint) -> None:
    """Raise ModelError("no_official_form") for what the originals would not know, or would take for something else."""
    whole = lora_rank(checkpoint.state) is None
    if checkpoint.version == "nano":
        reason = "nano is of this program's own making, and the originals have nothing like it"
    elif (checkpoint.kind, checkpoint.version) == ("sovits", "v4") and whole:
        reason = "the originals take every whole v4 model but the official base for v3; only a LoRA of v4 is told apart"
    elif checkpoint.kind in VOICE_KINDS and checkpoint.version not in fitting(checkpoint.state):
        reason = f"by their tensors the weights are not those of {checkpoint.version or 'any version'}"
    else:
        return
    raise ModelError(
        "no_official_form", f"There is no official file for this: {reason}.", hint="Keep it as safetensors."
    )


def stored(name: str, tensor: Tensor, half: bool | None) -> Tensor:
    """A tensor as it goes to disk: float16 or float32, as it is where `half` is None; integers as they are.

    Raises ModelError("not_finite").
    """
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        if half is not None:
            tensor = tensor.to(torch.float16 if half else torch.float32)
        if not torch.isfinite(tensor).all():
            raise ModelError("not_finite", f"The tensor {name} is not finite, so this checkpoint was not written.")
    return tensor.contiguous().clone()  # what shares memory would be stored as one


def _layout(container: Container) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """(name → tensor, config, info) of whatever the original saves."""
    content = container.content
    if not isinstance(content, dict):
        _refuse(container, f"holds a {type(content).__name__}")
    if isinstance(content.get("weight"), dict):
        return content["weight"], _mapping(container, "config"), {"official": str(content.get("info", ""))}
    if isinstance(content.get("model"), dict) and "iteration" in content:
        info = {"layout": "resume", "epoch": _number(content["iteration"])}
        return content["model"], {}, info
    if isinstance(content.get("state_dict"), dict):
        config = _mapping(container, "hyper_parameters")
        info = {"layout": "resume", "epoch": _number(content.get("epoch")), "step": _number(content.get("global_step"))}
        return content["state_dict"], config.get("config", config), info
    if isinstance(content.get("generator"), dict):
        return content["generator"], {}, {"layout": "bare"}
    if content and all(isinstance(value, Tensor) for value in content.values()):
        return content, {}, {"layout": "bare"}
    return _refuse(container, f"holds {', '.join(ascii(key) for key in list(content)[:6]) or 'nothing'}")


def _refuse(container: Container, found: str) -> Any:
    raise ModelError(
        "bad_checkpoint",
        f"{container.path.name} {found}, and a checkpoint holds `weight` with its config, or tensors alone.",
    )


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _mapping(container: Container, key: str) -> dict[str, Any]:
    """A section of the content as plain nested dicts, ready for JSON; empty where there is none."""
    value = _plain(container.content.get(key, {}), _counter(container))
    return value if isinstance(value, dict) else {}


def _counter(container: Container) -> Callable[[int], None]:
    seen = 0

    def count(depth: int) -> None:
        nonlocal seen
        seen += 1
        if depth > _DEEPEST or seen > _MOST:
            _refuse(container, "has settings without end")

    return count


def _plain(value: Any, count: Callable[[int], None], depth: int = 0) -> Any:
    """Stand-ins and containers as dicts, lists and plain values."""
    count(depth)
    if isinstance(value, HParams):
        value = vars(value)
    if isinstance(value, dict):
        # Interned, as attributes are: a pickle stores a name that is one object once.
        return {sys.intern(str(key)): _plain(item, count, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, count, depth + 1) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _gpt(checkpoint: Checkpoint, state: dict[str, Tensor], _plain_config: bool) -> tuple[bytes, Any]:
    epoch, _ = progress(checkpoint.info)
    info = checkpoint.info.get("official") or f"GPT-e{epoch or 0}"
    return b"PK", OrderedDict(weight=OrderedDict(state), config=gpt_config(checkpoint.config), info=info)


def _sovits(checkpoint: Checkpoint, state: dict[str, Tensor], plain_config: bool) -> tuple[bytes, Any]:
    epoch, step = progress(checkpoint.info)
    config = sovits_config(checkpoint.version, checkpoint.config)
    content = OrderedDict(
        weight=state,
        config=config if plain_config else _hparams(config),
        info=checkpoint.info.get("official") or f"{epoch or 0}epoch_{step or 0}iteration",
    )
    rank = lora_rank(state)
    if rank is None:
        return MARKS.get(checkpoint.version, b"PK"), content
    content["lora_rank"] = rank
    return LORA_MARKS[checkpoint.version], content


def _discriminator(_checkpoint: Checkpoint, state: dict[str, Tensor], _plain_config: bool) -> tuple[bytes, Any]:
    return b"PK", {"weight": state}


def _hparams(config: dict[str, Any]) -> HParams:
    """Nested mappings as nested objects, as the original keeps its settings."""
    settings = HParams()
    for name, value in config.items():
        vars(settings)[name] = _hparams(value) if isinstance(value, dict) else value
    return settings
