"""Low-rank changes to the attention of the transformer (specification s2-v3v4 §2.4, after LoRA of Hu et al.).

The scale is 1 (alpha equals the rank), there is no dropout, and biases stay. In a file a change has the names of the
library that the original used; in a model, those of `LowRankLinear`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.flow_matching.model import FlowMatchingSoVITS

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""Linear layers of every block's `attn`."""
FILE_PREFIX = "cfm.base_model.model."
"""What stands before the names below `cfm` in a file."""
DOWN, UP = ".lora_A.default.weight", ".lora_B.default.weight"
TRAINED_WHOLE = ("ref_enc.", "bridge.", "wns1.", "linear_mel.")
"""Whole copies of these go into a LoRA file."""


class LowRankLinear(nn.Module):
    """A frozen linear layer and the change that it learns."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        options = {"device": base.weight.device, "dtype": torch.float32}
        self.down = nn.Parameter(torch.empty(rank, base.in_features, **options))  # A
        self.up = nn.Parameter(torch.zeros(base.out_features, rank, **options))  # B
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        low = F.linear(x.to(self.down.dtype), self.down)
        return self.base(x) + F.linear(low, self.up).to(x.dtype)


def inject(model: FlowMatchingSoVITS, rank: int) -> FlowMatchingSoVITS:
    """Freeze the transformer and the encoders, and let the attention learn changes of `rank`.

    What else the original trains beside them stays trainable. The first output equals that without changes.
    """
    if rank < 1:
        raise ModelError("bad_plan", f"A LoRA of rank {rank} changes nothing; ranks from 1 work.")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(TRAINED_WHOLE))
    for block in model.cfm.estimator.transformer_blocks:
        for target in TARGETS:
            parent, name = _place(block.attn, target)
            setattr(parent, name, LowRankLinear(getattr(parent, name), rank))
    return model


def lora_state(model: FlowMatchingSoVITS) -> dict[str, Tensor]:
    """What a LoRA file holds, by the official names: the changes, the parts that were trained whole, and buffers."""
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    parameters = dict(model.named_parameters())
    state = {}
    for name, tensor in model.state_dict().items():
        if name in trained or name not in parameters:
            state[_file_name(name)] = tensor
    return state


def load_lora(model: FlowMatchingSoVITS, state: dict[str, Tensor]) -> None:
    """Fill an injected model with a LoRA file's weights. Raises ModelError("wrong_base") where they do not fit."""
    wanted = lora_state(model)
    if wanted.keys() != state.keys():
        odd = sorted(wanted.keys() ^ state.keys())[0]
        raise ModelError("wrong_base", f"This LoRA does not fit the model, beginning with {odd}.")
    with torch.no_grad():
        for name, tensor in wanted.items():
            _check_shape(name, tensor, state[name])
            tensor.copy_(state[name])


def merge(base_state: dict[str, Tensor], lora_state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The base with a LoRA file's changes added, in float32, and its whole copies put in place.

    Untouched tensors are those of the base, not copies. Raises ModelError("wrong_base") where the two do not fit.
    """
    merged = dict(base_state)
    for name, tensor in lora_state.items():
        if name.endswith(UP):
            continue
        if name.endswith(DOWN):
            target = f"{_base_name(name.removesuffix(DOWN))}.weight"
            up = lora_state.get(f"{name.removesuffix(DOWN)}{UP}")
            if up is None:
                raise ModelError("bad_checkpoint", f"The LoRA has {name} without its other half.")
            change = up.float() @ tensor.float()
            merged[target] = _of(base_state, target, change).float() + change
        else:
            target = _base_name(name)
            _of(base_state, target, tensor)
            merged[target] = tensor
    return merged


def is_lora(state: dict[str, Tensor]) -> bool:
    return any(name.endswith(DOWN) for name in state)


def rank_of(state: dict[str, Tensor]) -> int:
    """The rank that a LoRA file's tensors have. Raises ModelError("bad_checkpoint") where there is no LoRA."""
    for name, tensor in state.items():
        if name.endswith(DOWN):
            return tensor.shape[0]
    raise ModelError("bad_checkpoint", "These weights hold no LoRA.")


def _file_name(name: str) -> str:
    """Our name of an injected model's tensor -> the official one."""
    name = name.replace(".down", DOWN).replace(".up", UP) if name.endswith((".down", ".up")) else name
    return FILE_PREFIX + name.removeprefix("cfm.") if name.startswith("cfm.") else name


def _base_name(name: str) -> str:
    """The official name in a LoRA file -> the name in its base."""
    return f"cfm.{name.removeprefix(FILE_PREFIX)}" if name.startswith(FILE_PREFIX) else name


def _of(base_state: dict[str, Tensor], name: str, wanted: Tensor) -> Tensor:
    if name not in base_state:
        raise ModelError("wrong_base", f"The LoRA changes {name}, which its base does not have.")
    _check_shape(name, wanted, base_state[name])
    return base_state[name]


def _check_shape(name: str, wanted: Tensor, found: Tensor) -> None:
    if wanted.shape != found.shape:
        shapes = f"{list(wanted.shape)} and {list(found.shape)}"
        raise ModelError("wrong_base", f"The LoRA and its base disagree about {name}: {shapes}.")


def _place(attention: nn.Module, target: str) -> tuple[nn.Module, str]:
    """(module that holds the layer, its name there)."""
    parent, _, name = target.rpartition(".")
    return (attention.get_submodule(parent) if parent else attention), name
