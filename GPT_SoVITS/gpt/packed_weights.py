"""The network's weights as a decoding step reads them: laid out once per model for what is fastest with few rows.

A step on a CPU is bound by how fast the weights come from memory. oneDNN's prepacked products stream them at up to
twice the speed of `torch.nn.functional.linear`, and each row of a result is the same to the last bit however many
rows share the product, as long as there are two of them or more.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.model import POSITIONS, Text2Semantic, TransformerLayer, sine_table
from GPT_SoVITS.gpt.weight_cache import WeightCache

Precision = Literal["auto", "fp32", "bf16", "int8"]
"""Of the weights in a step. auto: exactly as the model has them. int8: by the native decoder alone."""

NARROW_WIDTH = 256
"""Up to this width a layer's weights stay in the processor's caches."""


class LinearKernels:
    """Linear layers from (M, I) to (M, O) with packed weights, by PyTorch's own kernels."""

    rows = 1
    """M must be a multiple of this."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def pack(self, weight: Tensor) -> Tensor:
        """Convert a weight (O, I) to the layout that the products read."""
        return weight.detach().to(self.dtype)

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Apply a linear layer."""
        return F.linear(x, weight, bias)

    def relu(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Apply a linear layer and a ReLU; the result has the dtype that `plus` reads."""
        return F.relu(F.linear(x, weight, bias))

    def plus(self, x: Tensor, weight: Tensor, bias: Tensor, other: Tensor) -> Tensor:
        """Apply a linear layer and add `other`."""
        return other + F.linear(x, weight, bias)


class RowwiseKernels(LinearKernels):
    """One product per row, for small weights.

    Those stay in the processor's caches, where sharing a product gains nothing, and each row is rounded as it is alone.
    """

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return torch.cat([F.linear(row, weight, bias) for row in x.split(1)])

    def relu(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.relu(self.linear(x, weight, bias))

    def plus(self, x: Tensor, weight: Tensor, bias: Tensor, other: Tensor) -> Tensor:
        return other + self.linear(x, weight, bias)


class OneDNNKernels(LinearKernels):
    """float32 by oneDNN. Four rows need less time than one: its kernel for a single row is slower."""

    rows = 4

    def __init__(self) -> None:
        super().__init__(torch.float32)
        self._product = torch.ops.mkldnn._linear_pointwise.default
        self._sum = torch.ops.mkldnn._linear_pointwise.binary

    def pack(self, weight: Tensor) -> Tensor:
        return torch.ops.mkldnn._reorder_linear_weight(super().pack(weight).contiguous(), self.rows)

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return self._product(x, weight, bias, "none", [], "")

    def relu(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self._product(x, weight, bias, "relu", [], "")

    def plus(self, x: Tensor, weight: Tensor, bias: Tensor, other: Tensor) -> Tensor:
        return self._sum(x, other, weight, bias, "add")


class OneDNNBfloat16Kernels(OneDNNKernels):
    """bfloat16 weights and products; what enters, leaves and is summed stays float32."""

    def __init__(self) -> None:
        super().__init__()
        self.dtype = torch.bfloat16

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return self._product(x.bfloat16(), weight, bias, "none", [], "").float()

    def relu(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self._product(x.bfloat16(), weight, bias, "relu", [], "")

    def plus(self, x: Tensor, weight: Tensor, bias: Tensor, other: Tensor) -> Tensor:
        return other + self._product(x.bfloat16(), weight, bias, "none", [], "")


class PackedLayer(NamedTuple):
    """The weights of one transformer layer: attention's input and output, the feed-forward's up and down."""

    in_weight: Tensor
    in_bias: Tensor
    out_weight: Tensor
    out_bias: Tensor
    up_weight: Tensor
    up_bias: Tensor
    down_weight: Tensor
    down_bias: Tensor
    norm1: tuple[Tensor, Tensor]
    norm2: tuple[Tensor, Tensor]


@dataclass(slots=True)
class PackedWeights:
    """Everything that a decoder reads; what is not packed has the dtype of the activations."""

    kernels: LinearKernels
    """For the layers in a step of several rows."""
    single_row_kernels: LinearKernels
    """For one row, in a step or in the prefill; they read the same packed weights."""
    head_kernels: LinearKernels
    """Never bfloat16: rounded logits would change what is drawn."""
    layers: list[PackedLayer]
    head: Tensor
    text_embedding: Tensor
    """(P, E)."""
    token_embedding: Tensor
    """(V, E)."""
    bert_weight: Tensor
    bert_bias: Tensor
    text_alpha: Tensor
    token_alpha: Tensor
    text_positions: Tensor
    """(count, E), added to a text's embeddings."""
    token_positions: Tensor
    """(count, E), added to tokens' embeddings."""

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the activations."""
        return self.token_embedding.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.token_embedding.device

    def extend_positions(self, count: int) -> None:
        """Compute at least `count` positions."""
        if len(self.token_positions) < count:
            table = sine_table(2 * count, self.token_positions.shape[1]).to(self.token_positions)
            self.text_positions, self.token_positions = self.text_alpha * table, self.token_alpha * table


def pack_weights(model: Text2Semantic, precision: Precision = "auto") -> PackedWeights:
    """Return the packed weights of a model, which are cached until the model's weights change.

    A model may keep its own weights in half precision: what a CPU computes with is packed from them as float32.
    A CPU without bfloat16, and a narrow model, use float32 for bf16. Raises ModelError("bad_precision").
    """
    return _cache.get(model, precision, lambda: _pack(model, precision))


def round_up(number: int, multiple: int) -> int:
    """Return the smallest multiple that is not below the number."""
    return -(-number // multiple) * multiple


_cache: WeightCache[PackedWeights] = WeightCache()


class _KernelChoice(NamedTuple):
    layers: LinearKernels
    single_row: LinearKernels
    head: LinearKernels


def _choose_kernels(model: Text2Semantic, precision: Precision) -> _KernelChoice:
    if precision not in ("auto", "fp32", "bf16"):
        raise ModelError("bad_precision", f"precision is {precision!r}; auto, fp32 and bf16 work.")
    if model.device.type != "cpu":
        own = model.model.ar_predict_layer.weight.dtype
        kernels = LinearKernels({"auto": own, "fp32": torch.float32, "bf16": torch.bfloat16}[precision])
        return _KernelChoice(kernels, kernels, kernels)
    if model.config.embedding_dim <= NARROW_WIDTH:
        kernels = RowwiseKernels(torch.float32)
        return _KernelChoice(kernels, LinearKernels(torch.float32), kernels)
    # On other processors oneDNN is absent or no faster.
    if not torch.backends.mkldnn.is_available() or platform.machine() not in ("x86_64", "AMD64"):
        kernels = LinearKernels(torch.float32)
        return _KernelChoice(kernels, kernels, kernels)
    exact = OneDNNKernels()
    half = precision == "bf16" and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    kernels = OneDNNBfloat16Kernels() if half else exact
    return _KernelChoice(kernels, kernels, exact)


@torch.inference_mode(False)
@torch.no_grad()
def _pack(model: Text2Semantic, precision: Precision) -> PackedWeights:
    network = model.model
    kernels, single_row_kernels, head_kernels = _choose_kernels(model, precision)
    activations = head_kernels.dtype

    def plain(tensor: Tensor) -> Tensor:
        return tensor.detach().to(activations)

    table = sine_table(POSITIONS, model.config.embedding_dim).to(model.device, activations)
    return PackedWeights(
        kernels=kernels,
        single_row_kernels=single_row_kernels,
        head_kernels=head_kernels,
        layers=[pack_layer(layer, kernels, activations) for layer in network.h.layers],
        head=head_kernels.pack(network.ar_predict_layer.weight),
        text_embedding=plain(network.ar_text_embedding.word_embeddings.weight),
        token_embedding=plain(network.ar_audio_embedding.word_embeddings.weight),
        bert_weight=plain(network.bert_proj.weight),
        bert_bias=plain(network.bert_proj.bias),
        text_alpha=plain(network.ar_text_position.alpha),
        token_alpha=plain(network.ar_audio_position.alpha),
        text_positions=plain(network.ar_text_position.alpha) * table,
        token_positions=plain(network.ar_audio_position.alpha) * table,
    )


def pack_layer(layer: nn.Module, kernels: LinearKernels, activations: torch.dtype) -> PackedLayer:
    """Return the weights of a layer as kernels read them, those of its norms in the dtype of the activations."""
    assert isinstance(layer, TransformerLayer)
    attention = layer.self_attn
    dtype = kernels.dtype
    return PackedLayer(
        in_weight=kernels.pack(attention.in_proj_weight),
        in_bias=attention.in_proj_bias.detach().to(dtype),
        out_weight=kernels.pack(attention.out_proj.weight),
        out_bias=attention.out_proj.bias.detach().to(dtype),
        up_weight=kernels.pack(layer.linear1.weight),
        up_bias=layer.linear1.bias.detach().to(dtype),
        down_weight=kernels.pack(layer.linear2.weight),
        down_bias=layer.linear2.bias.detach().to(dtype),
        norm1=(layer.norm1.weight.detach().to(activations), layer.norm1.bias.detach().to(activations)),
        norm2=(layer.norm2.weight.detach().to(activations), layer.norm2.bias.detach().to(activations)),
    )
