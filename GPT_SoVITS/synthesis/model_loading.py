"""Load a voice's two files as two models: mapped, checked against each other, and converted once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from common.versions import FLOW_MATCHING_VERSIONS, gpt_family
from GPT_SoVITS.checkpoints.catalog import find_part
from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import open_checkpoint
from GPT_SoVITS.checkpoints.official_configs import is_recipe
from GPT_SoVITS.checkpoints.pretrained import assign_weights
from GPT_SoVITS.configs import Recipe
from GPT_SoVITS.device_precision import device_precision
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.flow_matching import official as official_flow
from GPT_SoVITS.flow_matching.lora import attach, is_lora, whole_parts
from GPT_SoVITS.flow_matching.model import FlowMatchingSoVITS
from GPT_SoVITS.gpt.decoder_choice import share_packed_weights
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.native.library import load_library
from GPT_SoVITS.gpt.native.packed_file import PackedFile
from GPT_SoVITS.gpt.packed_weights import Precision
from GPT_SoVITS.sovits import official as official_sovits
from GPT_SoVITS.sovits.model import TRAINING_ONLY_PREFIXES, SoVITS
from GPT_SoVITS.synthesis.model_store import ModelStore
from GPT_SoVITS.vocoders.sizes import fold

MAX_SETTING = 1 << 16
"""Largest setting, other than a layer count, that any file may have: some settings show in no tensor."""
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, "int8": torch.float32}
"""int8 is for the GPT's decoder on a CPU alone, which packs it from the weights as they are."""
WEIGHT_INITIALIZERS = (Tensor.normal_, Tensor.uniform_)


@dataclass(frozen=True, slots=True)
class ModelFileCache:
    """A folder for what is made of checkpoints, which all processes of a host share."""

    folder: Path
    max_bytes: int


@dataclass(frozen=True, slots=True)
class VoiceModels:
    """The networks of a voice, ready for inference."""

    gpt: Text2Semantic
    sovits: SoVITS | FlowMatchingSoVITS
    version: str
    """Of the SoVITS model; a GPT model serves several."""
    recipe: Recipe
    """Of the SoVITS model."""
    device: torch.device
    precision: Precision
    """In which the GPT decodes."""


def load_models(
    gpt_path: Path,
    sovits_path: Path,
    *,
    models: Path | None,
    device: torch.device | str,
    precision: str,
    store: ModelStore,
    cache: ModelFileCache | None = None,
) -> VoiceModels:
    """Open a GPT and a SoVITS file, ours or official.

    Args:
        models: Folder of official weights, where the base of a LoRA is looked for.
        precision: `auto` (what suits the device), `fp32`, `fp16`, `bf16` or `int8`.
        store: Finds a GPT that another voice has loaded from the same file.
        cache: Keeps what is made of the files, for all processes of the host.

    Raises:
        ModelError: "wrong_checkpoint" for files that do not belong together, "missing_part" for a LoRA without its
            base, "bad_precision", and those of `open_checkpoint`.
    """
    device = torch.device(device)
    dtype = weight_dtype(precision, device)
    gpt_file, sovits_file = open_checkpoint(gpt_path), open_checkpoint(sovits_path)
    check_pair(gpt_file, sovits_file)
    check_sizes(gpt_file)
    check_sizes(sovits_file)
    version = sovits_file.version
    sovits: SoVITS | FlowMatchingSoVITS
    # One after the other, and each file released before the next is converted: its pages count as memory, too.
    # On a CPU the GPT's weights stay as the file has them, mapped: the decoder converts what it lays out for itself.
    gpt_dtype = None if device.type == "cpu" else dtype
    gpt = store.share(
        "gpt",
        (str(gpt_path), gpt_path.stat().st_mtime_ns, device, gpt_dtype),
        partial(_build_gpt, gpt_file, gpt_path.name, device, gpt_dtype),
    )
    if cache is not None and device.type == "cpu":
        share_packed_weights(gpt, PackedFile(cache.folder / "gpt", gpt_path, cache.max_bytes))
    del gpt_file
    if version in FLOW_MATCHING_VERSIONS:
        recipe, sovits = _build_flow_matching(sovits_file, sovits_path.name, models, device, dtype, store)
    else:
        recipe, sovits = _build_sovits(sovits_file, sovits_path.name, device)
        if dtype != torch.float32 and device.type == "cuda":
            sovits.halve_generator()
    del sovits_file
    codebook_size = len(sovits.quantizer.codebook.embed)
    if gpt.config.end_token != codebook_size:
        raise ModelError(
            "wrong_checkpoint",
            f"The GPT checkpoint speaks {gpt.config.end_token} semantic tokens, the SoVITS checkpoint knows "
            f"{codebook_size}; they do not belong together.",
        )
    decoding_precision = precision if device.type == "cpu" and precision in ("fp32", "bf16", "int8") else "auto"
    return VoiceModels(gpt, sovits, version, recipe, device, cast(Precision, decoding_precision))


def weight_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype of the weights of the GPT and of the transformer of v3 and v4.

    Where it is a half precision, the generator of v1 to v2ProPlus is in float16 on a GPU, in which official checkpoints
    are stored; bfloat16 would round eight times as coarsely. All other weights are cheap, and stay float32.

    Raises:
        ModelError: "bad_precision" for a name that is none, or that does not suit the device.
    """
    if precision == "auto":
        return PRECISIONS[device_precision(device)]
    if precision not in PRECISIONS:
        raise ModelError("bad_precision", f"{precision!r} is no precision.", hint=f"auto, {', '.join(PRECISIONS)}.")
    if precision == "fp16" and device.type == "cpu":
        raise ModelError("bad_precision", "A CPU has no fast float16.", hint="auto, fp32, bf16 and int8 work on a CPU.")
    if precision == "int8" and device.type != "cpu":
        raise ModelError("bad_precision", "int8 is for a CPU.", hint="auto, fp32, fp16 and bf16 work on a GPU.")
    return PRECISIONS[precision]


def suitable_precision(precision: str, device: torch.device | str) -> str:
    """Return a precision that is set for all devices, or `auto` where this one cannot compute in it.

    Raises:
        ModelError: "bad_precision" for a name that is none.
    """
    device = torch.device(device)
    if precision != "auto" and precision not in PRECISIONS:
        weight_dtype(precision, device)
    unsuitable = {"cpu": ("fp16",), "cuda": ("int8",)}.get(device.type, ("fp16", "bf16", "int8"))
    if precision == "int8" and load_library() is None:
        return "auto"
    return "auto" if precision in unsuitable else precision


def check_pair(gpt: Checkpoint, sovits: Checkpoint) -> None:
    """Raise ModelError("wrong_checkpoint") unless these are a GPT and a SoVITS model that understand each other."""
    for file, kind in ((gpt, "gpt"), (sovits, "sovits")):
        if file.kind != kind:
            raise ModelError("wrong_checkpoint", f"A {kind} checkpoint was expected; this one is a {file.kind}.")
    if gpt_family(gpt.version) != gpt_family(sovits.version):
        raise ModelError(
            "wrong_checkpoint",
            f"The GPT checkpoint is {gpt.version}, the SoVITS checkpoint {sovits.version}; one family is needed.",
            hint="v1 and nano have GPTs of their own; all other versions share those of v2.",
        )


def check_sizes(file: Checkpoint) -> None:
    """Reject settings that ask for far more than the file's tensors hold, before a network is built to them.

    Raises:
        ModelError: "bad_checkpoint".
    """
    largest = max((max(tensor.shape, default=1) for tensor in file.state.values()), default=1)
    for name, value in _numbers("", file.config.get("model", {})):
        is_count = any(word in name for word in ("layer", "depth", "coupling"))
        limit = len(file.state) if is_count else max(largest, MAX_SETTING)
        if value > limit:
            raise ModelError(
                "bad_checkpoint", f"The checkpoint's settings say {name} is {value}; its tensors hold at most {limit}."
            )


def _numbers(name: str, value: object) -> Iterator[tuple[str, int]]:
    """Yield every integer among nested settings, with the name of its own entry."""
    if isinstance(value, int):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(str(key), inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _numbers(name, inner)


def _build_gpt(file: Checkpoint, source: str, device: torch.device, dtype: torch.dtype | None) -> Text2Semantic:
    with _SkipInitialization():
        gpt = Text2Semantic.from_config(file.config)
    _place_weights(gpt, file.state, source=source, device=device, dtype=dtype)
    return gpt


def _build_sovits(file: Checkpoint, source: str, device: torch.device) -> tuple[Recipe, SoVITS]:
    """Return the recipe and the network of a SoVITS file of v1, v2, v2Pro, v2ProPlus or nano."""
    recipe = file.config
    if not is_recipe(recipe):
        recipe = official_sovits.recipe(file.version, recipe.get("model", {}), official_sovits.sizes(file.state))
    with _SkipInitialization():
        model = SoVITS.from_config(recipe, posterior=False).fold_weight_norm()
    state = {name: tensor for name, tensor in file.state.items() if not name.startswith(TRAINING_ONLY_PREFIXES)}
    _place_weights(model, fold(state), source=source, device=device, dtype=torch.float32)
    return recipe, model


def _build_flow_matching(
    file: Checkpoint,
    source: str,
    models: Path | None,
    device: torch.device,
    dtype: torch.dtype,
    store: ModelStore,
) -> tuple[Recipe, FlowMatchingSoVITS]:
    """Return the recipe and the network of a SoVITS file of v3 or v4; a LoRA shares the weights of its base."""
    state = file.state
    if not is_lora(state):
        return _build_whole_flow_matching(file, source, device, dtype)
    if models is None:
        raise ModelError(
            "missing_part",
            f"This {file.version} voice is a LoRA, and no folder of models was named to look for its base.",
        )
    path = find_part(models, "sovits", file.version)
    base_file = open_checkpoint(path, version=file.version)
    whole = whole_parts(base_file.state, state)
    shared_base = store.share(
        "base",
        (str(path), path.stat().st_mtime_ns, device, dtype),
        lambda: SharedBase(*_build_whole_flow_matching(base_file, path.name, device, dtype)),
    )
    recipe = file.config if is_recipe(file.config) else shared_base.recipe
    with _SkipInitialization():
        model = FlowMatchingSoVITS.from_config(recipe).fold_weight_norm()
    weights = dict(shared_base.model.state_dict())
    weights |= {name: tensor.to(device, torch.float32) for name, tensor in fold(whole).items() if name in weights}
    assign_weights(model, weights, source=source)
    model.to(device)
    model.shared_base = shared_base  # a store finds it as long as a voice has it
    return recipe, attach(model, state)


class SharedBase:
    """The network of a base that LoRA voices share, with its recipe."""

    def __init__(self, recipe: Recipe, model: FlowMatchingSoVITS) -> None:
        self.recipe = recipe
        self.model = model


def _build_whole_flow_matching(
    file: Checkpoint, source: str, device: torch.device, dtype: torch.dtype
) -> tuple[Recipe, FlowMatchingSoVITS]:
    state, recipe = file.state, file.config
    if not is_recipe(recipe):
        recipe = official_flow.recipe(file.version, recipe.get("model", {}), official_flow.sizes(state))
    with _SkipInitialization():
        model = FlowMatchingSoVITS.from_config(recipe).fold_weight_norm()
    _place_weights(model, fold(state), source=source, device=device, dtype=torch.float32)
    return recipe, model if dtype == torch.float32 or device.type == "cpu" else model.halve(dtype)


class _SkipInitialization(TorchFunctionMode):
    """Builds modules without drawing their first weights: memory that nobody writes to costs nothing. What comes from
    a generator of its own is no weight, and stays.

    The meta device would do the same, but its first product of two numbers imports a library of symbolic algebra, which
    takes 70 MB and a second or two.
    """

    def __torch_function__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), keywords: dict[str, Any] | None = None
    ) -> Any:
        keywords = keywords or {}
        if function in WEIGHT_INITIALIZERS or getattr(function, "__module__", "") == "torch.nn.init":
            return arguments[0] if arguments else keywords["tensor"]
        if function is torch._weight_norm:
            return torch.empty_like(arguments[0])
        if function is torch.randn and "generator" not in keywords:
            return torch.empty(*arguments, **keywords)
        return function(*arguments, **keywords)


def _place_weights(
    model: nn.Module, state: dict[str, Tensor], *, source: str, device: torch.device, dtype: torch.dtype | None
) -> None:
    """Give a network the weights of the file `source`, each converted once and none copied that fits as it is.

    Without a `dtype` they stay as they are.
    """
    converted = {
        name: tensor.to(device).to(dtype if tensor.is_floating_point() else None) for name, tensor in state.items()
    }
    assign_weights(model, converted, source=source)
    model.to(device)  # with the tables that no file holds
