"""Which decoder generates: the native one on a CPU where it was built, else PyTorch's."""

from __future__ import annotations

import torch

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.decoder import Decoder, TorchDecoder
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.native.decoder import NativeDecoder
from GPT_SoVITS.gpt.native.library import load_library
from GPT_SoVITS.gpt.native.packed_file import PackedFile
from GPT_SoVITS.gpt.native.weights import (
    Kind,
    NativeWeights,
    assemble_native_weights,
    pack_native_weights,
    packed_tensors,
    stored_kind,
    suits,
)
from GPT_SoVITS.gpt.packed_weights import NARROW_WIDTH, Precision
from GPT_SoVITS.gpt.weight_cache import WeightCache

_cache: WeightCache[NativeWeights] = WeightCache()
_files: WeightCache[PackedFile | None] = WeightCache()


def share_packed_weights(model: Text2Semantic, file: PackedFile) -> None:
    """Let the native weights of a model, as they are now, lie in a file that all processes of the host map."""
    _files.get(model, "", lambda: file)


def packed_bytes(model: Text2Semantic) -> int:
    """Return how much memory the native weights of a model take; 0 before a decoder needs them."""
    return sum(weights.bytes for weights in _cache.values(model))


def new_decoder(model: Text2Semantic, precision: Precision = "auto") -> Decoder:
    """Return an empty decoder of a model, with as many threads as PyTorch has.

    Args:
        model: the GPT; its packed weights are kept until they change.
        precision: auto keeps the weights exactly; on a CPU, bf16 is PyTorch's and int8 the native decoder's.

    Raises:
        ModelError: "bad_precision" for int8 where there is no native decoder.
    """
    if model.device.type != "cpu" or precision == "bf16" or not suits(model.config) or load_library() is None:
        if precision == "int8":
            raise ModelError(
                "bad_precision",
                "int8 needs the native decoder, which runs on a CPU and where a C++ compiler was there at install.",
                hint="auto and fp32 work everywhere.",
            )
        return TorchDecoder(model, precision)
    kinds: dict[str, Kind] = {"auto": stored_kind(model), "fp32": "single", "int8": "int8"}
    if precision not in kinds:
        raise ModelError("bad_precision", f"precision is {precision!r}; auto, fp32, bf16 and int8 work.")
    kind = kinds[precision]
    weights = _cache.get(model, kind, lambda: _native_weights(model, kind))
    # So small a network fits into the caches of one core: threads that wait for one another cost more than they do.
    return NativeDecoder(weights, 1 if model.config.embedding_dim <= NARROW_WIDTH else torch.get_num_threads())


def _native_weights(model: Text2Semantic, kind: Kind) -> NativeWeights:
    """Pack a model, or map what another process has packed."""
    file = _files.get(model, "", lambda: None)  # None also where the weights were changed since
    if file is None:
        return pack_native_weights(model, kind)
    return assemble_native_weights(model, kind, file.load(kind, lambda: packed_tensors(model, kind)))
