"""A voice's two files to two models: mapped, checked against each other, and converted once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from GPT_SoVITS.checkpoints.catalog import find_part
from GPT_SoVITS.checkpoints.checkpoint import Checkpoint, open_checkpoint
from GPT_SoVITS.checkpoints.official_configs import is_recipe
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.packed_weights import Precision
from GPT_SoVITS.sovits.model import TRAINING_ONLY_PREFIXES, SoVITS
from GPT_SoVITS.vocoders.sizes import fold

FLOW_VERSIONS = ("v3", "v4")
LARGEST_PLAIN = 1 << 16
"""A setting that is no layer count may say so much in any file: some count what no tensor shows."""
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Models:
    """What a voice consists of, ready for inference."""

    gpt: Text2Semantic
    sovits: nn.Module
    """SoVITS, or FlowMatchingSoVITS for v3 and v4."""
    version: str
    """Of the SoVITS model; a GPT model serves several."""
    config: dict[str, Any]
    """The SoVITS model's recipe."""
    device: torch.device
    precision: Precision
    """In which the GPT decodes."""


def load_models(
    gpt_path: Path, sovits_path: Path, *, models: Path | None, device: torch.device | str, precision: str
) -> Models:
    """Open a GPT and a SoVITS file, ours or official. Raises ModelError "wrong_checkpoint" for files that do not belong
    together, "missing_part" for a LoRA without its base, "bad_precision", and those of open_checkpoint."""
    device = torch.device(device)
    dtype = chosen_type(precision, device)
    files = {"gpt": open_checkpoint(gpt_path), "sovits": open_checkpoint(sovits_path)}
    check_pair(files["gpt"], files["sovits"])
    for file in files.values():
        check_sizes(file)
    version = files["sovits"].version
    # One after the other, and each file let go before the next is converted: its pages count as memory, too.
    gpt = _build_gpt(files.pop("gpt"), device, dtype)
    config, sovits = _build_sovits(files.pop("sovits"), models, device, dtype)
    _check_tokens(gpt.dimensions.end, len(sovits.quantizer.codebook.embed))
    return Models(
        gpt, sovits, version, config, device, "bf16" if device.type == "cpu" and precision == "bf16" else "auto"
    )


def chosen_type(precision: str, device: torch.device) -> torch.dtype:
    """Of the weights of the GPT and of the transformer of v3 and v4; all else is cheap, and stays float32."""
    if precision == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if precision not in PRECISIONS:
        raise ModelError("bad_precision", f"{precision!r} is no precision.", hint=f"auto, {', '.join(PRECISIONS)}.")
    if precision == "fp16" and device.type == "cpu":
        raise ModelError("bad_precision", "A CPU has no fast float16.", hint="auto, fp32 and bf16 work on a CPU.")
    return PRECISIONS[precision]


def check_pair(gpt: Checkpoint, sovits: Checkpoint) -> None:
    """Raise ModelError("wrong_checkpoint") unless these are a GPT and a SoVITS model that understand each other."""
    for file, kind in ((gpt, "gpt"), (sovits, "sovits")):
        if file.kind != kind:
            raise ModelError("wrong_checkpoint", f"A {kind} checkpoint was expected; this one is a {file.kind}.")
    if symbols_of(gpt.version) != symbols_of(sovits.version):
        raise ModelError(
            "wrong_checkpoint",
            f"The GPT checkpoint is {gpt.version}, the SoVITS checkpoint {sovits.version}; one family is needed.",
            hint="v1 and nano have GPTs of their own; all other versions share those of v2.",
        )


def check_sizes(file: Checkpoint) -> None:
    """Refuse settings that ask for far more than the file's tensors hold, before a network is built to them."""
    most = max((max(tensor.shape, default=1) for tensor in file.state.values()), default=1)
    for name, value in _numbers("", file.config.get("model", {})):
        counts = any(word in name for word in ("layer", "depth", "coupling"))
        limit = len(file.state) if counts else max(most, LARGEST_PLAIN)
        if value > limit:
            raise ModelError(
                "bad_checkpoint", f"The checkpoint's settings say {name} is {value}; its tensors hold at most {limit}."
            )


def _numbers(name: str, value: Any) -> Iterator[tuple[str, int]]:
    """Every whole number among the settings, with the name of its own entry."""
    if isinstance(value, int):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(str(key), inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _numbers(name, inner)


def _check_tokens(spoken: int, known: int) -> None:
    if spoken != known:
        raise ModelError(
            "wrong_checkpoint",
            f"The GPT checkpoint speaks {spoken} semantic tokens, the SoVITS checkpoint knows {known}; they do not "
            "belong together.",
        )


def symbols_of(version: str) -> str:
    """The family whose phonemes and tokens a version uses: `nano`, `v1` or `v2`."""
    return version if version in ("nano", "v1") else "v2"


def _build_gpt(file: Checkpoint, device: torch.device, dtype: torch.dtype) -> Text2Semantic:
    with _Blank():
        gpt = Text2Semantic(file.config)
    # On a CPU they stay as the file has them, mapped: the decoder converts what it lays out for itself.
    _fill(gpt, file.state, device, None if device.type == "cpu" else dtype)
    return gpt


def _build_sovits(
    file: Checkpoint, models: Path | None, device: torch.device, dtype: torch.dtype
) -> tuple[dict[str, Any], nn.Module]:
    if file.version in FLOW_VERSIONS:
        return _build_flow(file, models, device, dtype)
    from GPT_SoVITS.sovits.official import recipe, sizes

    config = file.config
    if not is_recipe(config):
        config = recipe(file.version, config.get("model", {}), sizes(file.state))
    with _Blank():
        model = SoVITS.from_config(config, posterior=False).fold_weight_norm()
    state = {name: tensor for name, tensor in file.state.items() if not name.startswith(TRAINING_ONLY_PREFIXES)}
    _fill(model, fold(state), device, torch.float32)
    return config, model


def _build_flow(
    file: Checkpoint, models: Path | None, device: torch.device, dtype: torch.dtype
) -> tuple[dict[str, Any], nn.Module]:
    from GPT_SoVITS.flow_matching.lora import is_lora, merge
    from GPT_SoVITS.flow_matching.model import FlowMatchingSoVITS
    from GPT_SoVITS.flow_matching.official import recipe, sizes

    state = file.state
    if is_lora(state):
        if models is None:
            raise ModelError(
                "missing_part",
                f"This {file.version} voice is a LoRA, and no folder of models was named to look for its base.",
            )
        base = open_checkpoint(find_part(models, "sovits", file.version), version=file.version)
        state = merge(base.state, state)
    config = file.config
    if not is_recipe(config):
        config = recipe(file.version, config.get("model", {}), sizes(state))
    with _Blank():
        model = FlowMatchingSoVITS.from_config(config).fold_weight_norm()
    _fill(model, fold(state), device, torch.float32)
    return config, model if dtype == torch.float32 or device.type == "cpu" else model.halve(dtype)


class _Blank(TorchFunctionMode):
    """Builds modules without drawing their first weights: memory that nobody writes to costs nothing. What comes from
    a generator of its own is no weight, and stays.

    The meta device would do the same, but its first product of two numbers imports a library of symbolic algebra, which
    takes 70 MB and a second or two.
    """

    def __torch_function__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        named = named or {}
        if function in DRAWS or getattr(function, "__module__", "") == "torch.nn.init":
            return arguments[0] if arguments else named["tensor"]
        if function is torch._weight_norm:
            return torch.empty_like(arguments[0])
        if function is torch.randn and "generator" not in named:
            return torch.empty(*arguments, **named)
        return function(*arguments, **named)


DRAWS = (Tensor.normal_, Tensor.uniform_)


def _fill(model: nn.Module, state: dict[str, Tensor], device: torch.device, dtype: torch.dtype | None) -> None:
    """Give a model that was built blank its weights, each converted once and none copied that fits as it is; without a
    `dtype` they are as they are."""
    wanted = model.state_dict()
    odd = sorted(wanted.keys() ^ state.keys()) or [n for n, t in wanted.items() if t.shape != state[n].shape]
    if odd:
        raise ModelError(
            "bad_checkpoint",
            f"The weights do not fit their configuration: {odd[0]} is {_shape(state, odd[0])} and should be "
            f"{_shape(wanted, odd[0])}.",
        )
    model.load_state_dict(
        {name: t.to(device).to(dtype if t.is_floating_point() else None) for name, t in state.items()},
        strict=True,
        assign=True,
    )
    model.to(device).eval().requires_grad_(False)  # tables that no file holds go there, too


def _shape(state: dict[str, Tensor], name: str) -> str:
    return str(list(state[name].shape)) if name in state else "missing"
