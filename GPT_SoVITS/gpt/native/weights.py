"""A GPT's weights as csrc/kernels.h reads them.

A matrix (outputs, inputs) becomes panels of 32 outputs: (panels, inputs, 32), or in bytes (panels, inputs / 4, 32, 4).
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.config import GPTConfig
from GPT_SoVITS.gpt.model import POSITIONS, Text2Semantic, TransformerLayer, sine_table
from GPT_SoVITS.gpt.native.library import Shape
from GPT_SoVITS.gpt.pointer import MAX_TOKENS_PER_PHONEME

Kind = Literal["single", "half", "int8"]
KIND_NUMBERS: Final[dict[Kind, int]] = {"single": 0, "half": 1, "int8": 2}
PANEL: Final = 32
"""Outputs of a panel."""
LANES: Final = 16
"""Numbers of a vector: a head consists of whole ones."""
GROUP: Final = 64
"""Inputs that share a scale in products of whole numbers; a row of inputs consists of whole groups."""
MAX_BYTE: Final = 127
EMBEDDED_TENSORS: Final = 4
"""How many tensors the prefill embeds its input with, behind those that csrc/decoder.cpp reads."""


def suits(config: GPTConfig) -> bool:
    """Return whether the kernels can compute a network of these dimensions."""
    return config.embedding_dim % GROUP == 0 and config.embedding_dim // config.head % LANES == 0


def stored_kind(model: Text2Semantic) -> Kind:
    """Return the smallest kind that keeps the layers' weights exactly."""
    dtypes = {parameter.dtype for parameter in model.model.h.parameters()}
    return "half" if dtypes == {torch.float16} else "single"


@dataclass(frozen=True, slots=True)
class NativeWeights:
    """The packed weights of a model, and what its prefill embeds with (float32)."""

    config: GPTConfig
    shape: Shape
    addresses: ctypes.Array[ctypes.c_void_p]
    """Of the tensors, in the order in which csrc/decoder.cpp reads them; null where there is none."""
    pointer_heads: Tensor
    """(count, 2): layer and head."""
    tensors: list[Tensor]
    """What the addresses point to."""
    text_embedding: Tensor
    bert_weight: Tensor
    bert_bias: Tensor
    text_positions: Tensor
    token_embedding: Tensor
    token_positions: Tensor

    @property
    def bytes(self) -> int:
        """How much memory they take."""
        embedded = (self.text_embedding, self.bert_weight, self.bert_bias, self.text_positions)
        return sum(tensor.nbytes for tensor in (*self.tensors, *embedded))


def pack_native_weights(model: Text2Semantic, kind: Kind) -> NativeWeights:
    """Pack a model on a CPU that `suits`; the head keeps its precision, since rounded logits change what is drawn.

    Raises:
        ModelError: "not_finite" for weights that no byte can stand for.
    """
    return assemble_native_weights(model, kind, packed_tensors(model, kind))


@torch.inference_mode(False)
@torch.no_grad()
def packed_tensors(model: Text2Semantic, kind: Kind) -> list[Tensor]:
    """Return the tensors of a model's native weights: those of csrc/decoder.cpp, then those of the prefill's input.

    Raises:
        ModelError: "not_finite".
    """
    config, network = model.config, model.model
    packer = _Packer()
    for layer in network.h.layers:
        assert isinstance(layer, TransformerLayer)
        attention = layer.self_attn
        packer.add_matrix(attention.in_proj_weight, attention.in_proj_bias, kind)
        packer.add_matrix(attention.out_proj.weight, attention.out_proj.bias, kind)
        packer.add_matrix(layer.linear1.weight, layer.linear1.bias, kind)
        packer.add_matrix(layer.linear2.weight, layer.linear2.bias, kind)
        for norm in (layer.norm1, layer.norm2):
            packer.add(norm.weight.detach().float())
            packer.add(norm.bias.detach().float())
    head = network.ar_predict_layer.weight
    packer.add_matrix(head, None, _head_kind(model))
    packer.add(network.ar_audio_embedding.word_embeddings.weight.detach().float())
    table = sine_table(POSITIONS, config.embedding_dim)
    packer.add(network.ar_audio_position.alpha.detach().float() * table)
    statistics = network.pointer_statistics
    packer.add(statistics.tokens)
    packer.add(statistics.moving)
    packer.add(torch.tensor([POSITIONS], dtype=torch.int32))
    return [
        *packer.tensors,
        _single(network.ar_text_embedding.word_embeddings.weight),
        _single(network.bert_proj.weight),
        _single(network.bert_proj.bias),
        network.ar_text_position.alpha.detach().float() * table,
    ]


def assemble_native_weights(model: Text2Semantic, kind: Kind, tensors: list[Tensor]) -> NativeWeights:
    """Return what a decoder reads from the `packed_tensors` of a model, or from a copy of them."""
    config = model.config
    packed, embedded = tensors[:-EMBEDDED_TENSORS], tensors[-EMBEDDED_TENSORS:]
    token_embedding, token_positions, token_statistics = packed[-5:-2]
    shape = Shape(
        layers=config.n_layer,
        width=config.embedding_dim,
        heads=config.head,
        vocabulary=config.vocab_size,
        end=config.end_token,
        phonemes=len(token_statistics),
        longest_phoneme=MAX_TOKENS_PER_PHONEME,
        layer_kind=KIND_NUMBERS[kind],
        head_kind=KIND_NUMBERS[_head_kind(model)],
    )
    return NativeWeights(
        config=config,
        shape=shape,
        addresses=(ctypes.c_void_p * len(packed))(*[t.data_ptr() if t.numel() else None for t in packed]),
        pointer_heads=torch.tensor(config.pointers, dtype=torch.int32).reshape(-1, 2).contiguous(),
        tensors=packed,
        text_embedding=embedded[0],
        bert_weight=embedded[1],
        bert_bias=embedded[2],
        text_positions=embedded[3],
        token_embedding=token_embedding,
        token_positions=token_positions,
    )


def _head_kind(model: Text2Semantic) -> Kind:
    return "half" if model.model.ar_predict_layer.weight.dtype == torch.float16 else "single"


def _single(tensor: Tensor) -> Tensor:
    return tensor.detach().float()


class _Packer:
    """Collects tensors in the order of csrc/decoder.cpp."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []

    def add(self, tensor: Tensor) -> Tensor:
        """Append a tensor as it is."""
        self.tensors.append(tensor.contiguous())
        return self.tensors[-1]

    def add_matrix(self, weight: Tensor, bias: Tensor | None, kind: Kind) -> None:
        """Append the panels, the biases and the scales of a matrix (outputs, inputs)."""
        outputs, inputs = weight.shape
        missing = -outputs % PANEL
        weight = F.pad(weight.detach(), (0, 0, 0, missing))
        scales = torch.empty(0)
        if kind == "int8":
            weight = weight.float()
            scales = weight.abs().amax(dim=1).clamp_min(1e-9) / MAX_BYTE
            if not scales.isfinite().all():  # as bytes they would be numbers like all others
                raise ModelError("not_finite", "The GPT has weights that are no numbers; its checkpoint is damaged.")
            panels = (weight / scales[:, None]).round().add(MAX_BYTE + 1).to(torch.uint8)
            panels = panels.view(-1, PANEL, inputs // 4, 4).transpose(1, 2)
        else:
            panels = weight.to(torch.float16 if kind == "half" else torch.float32)
            panels = panels.view(-1, PANEL, inputs).transpose(1, 2)
        self.add(panels)
        self.add(weight.new_zeros(len(weight)).float() if bias is None else F.pad(bias.detach().float(), (0, missing)))
        self.add(scales)
