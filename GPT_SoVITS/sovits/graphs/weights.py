"""The weights that passes read: those of each checkpoint, and a static network that checkpoints take turns in."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from GPT_SoVITS.sovits.config import SoVITSConfig
from GPT_SoVITS.sovits.encoder import MRTE
from GPT_SoVITS.sovits.flow import Flow
from GPT_SoVITS.sovits.generator import Generator
from GPT_SoVITS.sovits.model import SoVITS


@dataclass(frozen=True, slots=True)
class PassShape:
    """What checkpoints have in common whose passes run on the same memory."""

    config: SoVITSConfig
    generator_dtype: torch.dtype
    device: torch.device


class PassWeights:
    """A checkpoint as passes see it; `sovits` must be one for which `can_be_captured` is true."""

    def __init__(self, sovits: SoVITS) -> None:
        assert isinstance(sovits.dec, Generator), "the caller has checked that it can be captured"
        self.sovits = sovits
        self.tensors = _tensors(sovits)
        self.shape = PassShape(sovits.config, sovits.dec.dtype, self.tensors[0].device)


class StaticNetwork:
    """Memory that passes read the weights from, whichever checkpoint's they are."""

    @torch.inference_mode(False)
    @torch.no_grad()
    def __init__(self, like: PassWeights) -> None:
        """Allocate memory for weights of this shape; their values are undefined."""
        self._tensors = [torch.empty_like(tensor) for tensor in like.tensors]
        # A copy of the modules in which these take the place of the weights, and nothing that of other modules.
        memory: dict[int, Any] = {
            id(tensor): static for tensor, static in zip(like.tensors, self._tensors, strict=True)
        }
        memory |= {id(module): nn.Identity() for module in _unread_modules(like.sovits)}
        self.sovits = copy.deepcopy(like.sovits, memory)

    @property
    def memory_bytes(self) -> int:
        """What the weights take."""
        return sum(tensor.nbytes for tensor in self._tensors)

    def load(self, weights: PassWeights) -> None:
        """Take the values of a checkpoint; the addresses stay."""
        torch._foreach_copy_(self._tensors, weights.tensors)


def can_be_captured(sovits: SoVITS) -> bool:
    """Return whether the passes of a network can be captured; those of nano cannot.

    Its encoder needs the path through the text that the host finds, and its generator ends in a transform that the host
    looks into.
    """
    return (
        isinstance(sovits.enc_p.mrte, MRTE)
        and isinstance(sovits.flow, Flow)
        and isinstance(sovits.dec, Generator)
        and all((size - rate) % 2 == 0 for rate, size in sovits.dec.upsampling)
    )


def _unread_modules(sovits: SoVITS) -> list[nn.Module]:
    """Return the modules that no pass reads: they compute what a sentence or a voice needs once."""
    read = (sovits.enc_p, sovits.flow, sovits.dec)
    others = [module for module in sovits.children() if module not in read]
    return [*others, sovits.enc_p.encoder_text, sovits.enc_p.text_embedding]


def _tensors(sovits: SoVITS) -> list[Tensor]:
    """Return the weights that passes read, in an order that is the same for all checkpoints of a shape."""
    unread = {id(module) for module in _unread_modules(sovits)}
    tensors: list[Tensor] = []

    def collect(module: nn.Module) -> None:
        tensors.extend(tensor for tensor in module._parameters.values() if tensor is not None)
        tensors.extend(tensor for tensor in module._buffers.values() if tensor is not None)
        for child in module.children():
            if id(child) not in unread:
                collect(child)

    collect(sovits)
    return tensors
