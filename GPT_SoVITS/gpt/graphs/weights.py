"""The weights that steps read: those of each checkpoint, and static memory that checkpoints take turns in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.gpt.model import POSITIONS, Text2Semantic, sine_table
from GPT_SoVITS.gpt.packed_weights import LinearKernels, PackedLayer, pack_layer
from GPT_SoVITS.gpt.pointer import PointerStatistics
from GPT_SoVITS.gpt.weight_cache import WeightCache

ONES = 8
"""Hidden units that are one; a GPU's products want multiples of eight."""


@dataclass(frozen=True, slots=True)
class StepShape:
    """What checkpoints have in common whose steps run on the same memory. The text's embeddings are not part of it."""

    layers: int
    width: int
    heads: int
    vocabulary: int
    end: int
    pointers: tuple[tuple[int, int], ...]
    phonemes: int
    """Of the pointers' statistics; 0 without pointers."""
    dtype: torch.dtype
    device: torch.device


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class StepWeights:
    """Everything that a step reads of a checkpoint."""

    layers: tuple[PackedLayer, ...]
    head: Tensor
    """(V, E)."""
    tokens: Tensor
    """(V, E), embeddings."""
    positions: Tensor
    """(POSITIONS, E), added to them."""
    statistics: PointerStatistics

    def tensors(self) -> list[Tensor]:
        """Return all tensors, in an order that is the same for all checkpoints of a shape."""
        layers = [tensor for layer in self.layers for tensor in (*layer[:8], *layer.norm1, *layer.norm2)]
        return [*layers, self.head, self.tokens, self.positions, *self.statistics]


class StaticWeights:
    """Memory that steps read the weights from, whichever checkpoint's they are.

    There is a row for the token that stands for none, (V + 1, E). And in every layer, some more hidden units are always
    one, (4E + ONES): the first brings the bias of the product behind them, which so is added to what it follows without
    an operation for the bias.
    """

    @torch.inference_mode(False)
    @torch.no_grad()
    def __init__(self, like: StepWeights) -> None:
        """Allocate memory for weights of this shape; their values are undefined."""
        self.layers = tuple(_static_layer(layer) for layer in like.layers)
        self.head, self.positions = torch.empty_like(like.head), torch.empty_like(like.positions)
        self.tokens = F.pad(like.tokens, (0, 0, 0, 1))
        self.statistics = PointerStatistics(*map(torch.empty_like, like.statistics))
        static = StepWeights(self.layers, self.head, self.tokens, self.positions, self.statistics).tensors()
        targets = [
            memory[tuple(slice(size) for size in tensor.shape)]
            for memory, tensor in zip(static, like.tensors(), strict=True)
        ]
        self._dense = [(i, target) for i, target in enumerate(targets) if target.is_contiguous()]
        """Number and memory of the tensors that are copied together."""
        self._strided = [(i, target) for i, target in enumerate(targets) if not target.is_contiguous()]

    def load(self, weights: StepWeights) -> None:
        """Take the values of a checkpoint; the addresses stay."""
        tensors = weights.tensors()
        torch._foreach_copy_([target for _, target in self._dense], [tensors[i] for i, _ in self._dense])
        for i, target in self._strided:
            target.copy_(tensors[i])


def step_shape(model: Text2Semantic, dtype: torch.dtype) -> StepShape:
    """Return the shape of a model's steps in a dtype."""
    config = model.config
    return StepShape(
        layers=config.n_layer,
        width=config.embedding_dim,
        heads=config.head,
        vocabulary=config.vocab_size,
        end=config.end_token,
        pointers=config.pointers,
        phonemes=config.phoneme_vocab_size if config.pointers else 0,
        dtype=dtype,
        device=model.device,
    )


def step_weights(model: Text2Semantic, dtype: torch.dtype) -> StepWeights:
    """Return the weights of a model in a dtype, kept until they change; those that have it are not copied."""
    return _cache.get(model, str(dtype), lambda: _make_weights(model, dtype))


_cache: WeightCache[StepWeights] = WeightCache()


@torch.inference_mode(False)
@torch.no_grad()
def _make_weights(model: Text2Semantic, dtype: torch.dtype) -> StepWeights:
    network = model.model

    def plain(tensor: Tensor) -> Tensor:
        return tensor.detach().to(dtype)

    kernels = LinearKernels(dtype)
    table = sine_table(POSITIONS, model.config.embedding_dim).to(model.device, dtype)
    return StepWeights(
        tuple(pack_layer(layer, kernels, dtype) for layer in network.h.layers),
        plain(network.ar_predict_layer.weight),
        plain(network.ar_audio_embedding.word_embeddings.weight),
        plain(network.ar_audio_position.alpha) * table,
        network.pointer_statistics,
    )


def _static_layer(like: PackedLayer) -> PackedLayer:
    down_weight = F.pad(like.down_weight, (0, ONES))
    return PackedLayer(
        in_weight=torch.empty_like(like.in_weight),
        in_bias=torch.empty_like(like.in_bias),
        out_weight=torch.empty_like(like.out_weight),
        out_bias=torch.empty_like(like.out_bias),
        up_weight=F.pad(like.up_weight, (0, 0, 0, ONES)),
        up_bias=F.pad(like.up_bias, (0, ONES), value=1.0),
        down_weight=down_weight,
        down_bias=down_weight[:, len(like.up_bias)],
        norm1=(torch.empty_like(like.norm1[0]), torch.empty_like(like.norm1[1])),
        norm2=(torch.empty_like(like.norm2[0]), torch.empty_like(like.norm2[1])),
    )
