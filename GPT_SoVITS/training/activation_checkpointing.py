"""Activation checkpointing: layers keep only their inputs, and are recomputed in the backward pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def checkpoint_layers(layers: Iterable[nn.Module]) -> None:
    """Make layers recompute their activations in training mode.

    Names, weights and results stay what they are: random draws are repeated.
    """
    for layer in layers:
        _wrap(layer)


def _wrap(layer: nn.Module) -> None:
    plain = layer.forward

    def forward(*inputs: Any, **named: Any) -> Any:
        if layer.training and torch.is_grad_enabled():
            return checkpoint(plain, *inputs, use_reentrant=False, **named)
        return plain(*inputs, **named)

    layer.forward = forward
