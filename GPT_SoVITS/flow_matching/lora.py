"""Low-rank changes to the attention of the transformer (specification s2-v3v4 §2.4, after LoRA of Hu et al.).

The scale is 1 (alpha equals the rank), there is no dropout, and biases do not change. In a file, changes have the names
of the library that upstream used; in a model, those of `LowRankLinear`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.flow_matching.model import FlowMatchingSoVITS

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""Linear layers of every block's `attn`."""
FILE_PREFIX = "cfm.base_model.model."
"""Prefix of the names below `cfm` in a file."""
DOWN, UP = ".lora_A.default.weight", ".lora_B.default.weight"
TRAINED_WHOLE = ("ref_enc.", "bridge.", "wns1.", "linear_mel.")
"""A LoRA file holds whole copies of these."""


class LowRankLinear(nn.Module):
    """A frozen linear layer with a trained low-rank change."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        device = base.weight.device
        self.down = nn.Parameter(torch.empty(rank, base.in_features, device=device, dtype=torch.float32))  # A
        self.up = nn.Parameter(torch.zeros(base.out_features, rank, device=device, dtype=torch.float32))  # B
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Transform (..., in_features)."""
        low = F.linear(x.to(self.down.dtype), self.down)
        return self.base(x) + F.linear(low, self.up).to(x.dtype)


def inject(model: FlowMatchingSoVITS, rank: int) -> FlowMatchingSoVITS:
    """Freeze the transformer and the encoders, and add trainable changes of a rank to the attention.

    What upstream trains besides stays trainable. The output does not change at first.

    Raises:
        ModelError: "bad_plan": the rank is below 1.
    """
    if rank < 1:
        raise ModelError("bad_plan", f"A LoRA of rank {rank} changes nothing; ranks from 1 work.")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(TRAINED_WHOLE))
    for block in model.cfm.estimator.transformer_blocks:
        attention = block.get_submodule("attn")
        for target in TARGETS:
            path, _, name = target.rpartition(".")
            parent = attention.get_submodule(path) if path else attention
            setattr(parent, name, LowRankLinear(getattr(parent, name), rank))
    return model


def lora_state(model: FlowMatchingSoVITS) -> dict[str, Tensor]:
    """Return what a LoRA file holds, by official names: the changes, the parts that were trained whole, and buffers."""
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    parameters = dict(model.named_parameters())
    state = {}
    for name, tensor in model.state_dict().items():
        if name in trained or name not in parameters:
            state[_file_name(name)] = tensor
    return state


def merge(base_state: Mapping[str, Tensor], lora_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the base's weights with a LoRA file's changes added, in float32, and its whole copies in place.

    Unchanged tensors are those of the base, not copies.

    Raises:
        ModelError: "wrong_base" or "bad_checkpoint": the two do not fit, or the LoRA is not whole.
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
            merged[target] = _base_tensor(base_state, target, change.shape).float() + change
        else:
            target = _base_name(name)
            _base_tensor(base_state, target, tensor.shape)
            merged[target] = tensor
    return merged


def whole_parts(base_state: Mapping[str, Tensor], lora_state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the whole copies in a LoRA file, by the names of the base, and check that its changes fit.

    Raises:
        ModelError: as `merge`.
    """
    whole = {}
    for name, tensor in lora_state.items():
        if name.endswith(UP):
            continue
        if name.endswith(DOWN):
            target = f"{_base_name(name.removesuffix(DOWN))}.weight"
            up = lora_state.get(f"{name.removesuffix(DOWN)}{UP}")
            if up is None:
                raise ModelError("bad_checkpoint", f"The LoRA has {name} without its other half.")
            _base_tensor(base_state, target, torch.Size((up.shape[0], tensor.shape[1])))
        else:
            _base_tensor(base_state, _base_name(name), tensor.shape)
            whole[_base_name(name)] = tensor
    return whole


def attach(model: FlowMatchingSoVITS, lora_state: Mapping[str, Tensor]) -> FlowMatchingSoVITS:
    """Add the changes of a LoRA file to a network that has the base's weights, which other voices may share."""
    device = next(model.cfm.parameters()).device
    for name, down in lora_state.items():
        if not name.endswith(DOWN):
            continue
        target = name.removesuffix(DOWN)
        path, _, last = _base_name(target).rpartition(".")
        parent = model.get_submodule(path)
        layer = parent.get_submodule(last)
        assert isinstance(layer, nn.Linear)
        changed = LowRankLinear(layer, len(down))
        changed.down = nn.Parameter(down.to(device, torch.float32), requires_grad=False)
        changed.up = nn.Parameter(lora_state[f"{target}{UP}"].to(device, torch.float32), requires_grad=False)
        setattr(parent, last, changed)
    return model


def is_lora(state: Mapping[str, Tensor]) -> bool:
    """Return whether weights are those of a LoRA file."""
    return any(name.endswith(DOWN) for name in state)


def _file_name(name: str) -> str:
    """Return the official name of an injected model's tensor."""
    name = name.replace(".down", DOWN).replace(".up", UP) if name.endswith((".down", ".up")) else name
    return FILE_PREFIX + name.removeprefix("cfm.") if name.startswith("cfm.") else name


def _base_name(name: str) -> str:
    """Return the name in the base of an official name in a LoRA file."""
    return f"cfm.{name.removeprefix(FILE_PREFIX)}" if name.startswith(FILE_PREFIX) else name


def _base_tensor(base_state: Mapping[str, Tensor], name: str, shape: torch.Size) -> Tensor:
    """Return a tensor of the base. Raise ModelError("wrong_base") when it is missing or of another shape."""
    if name not in base_state:
        raise ModelError("wrong_base", f"The LoRA changes {name}, which its base does not have.")
    tensor = base_state[name]
    if tensor.shape != shape:
        shapes = f"{list(shape)} and {list(tensor.shape)}"
        raise ModelError("wrong_base", f"The LoRA and its base disagree about {name}: {shapes}.")
    return tensor
