"""The graph decoders of this process: one for each shape of GPT that is spoken with on a GPU.

They stay when voices are forgotten, since they hold weights of their own and the next voice of a shape uses them again;
only an exhausted memory lets them go. Everything here is called on the thread that owns the device.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from GPT_SoVITS.gpt.graphs.buckets import GraphBucket
from GPT_SoVITS.gpt.graphs.decoder import WORK, GraphDecoder, new_graph_decoder
from GPT_SoVITS.gpt.graphs.weights import StepShape, step_shape, step_weights
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.packed_weights import Precision, pack_weights
from GPT_SoVITS.graphs.registry import GraphRegistry

_decoders: GraphRegistry[StepShape, GraphDecoder] = GraphRegistry(WORK)


def graph_decoder(model: Text2Semantic, precision: Precision = "auto") -> GraphDecoder | None:
    """Return the graph decoder of a model's shape; None where it is on no GPU, or its graphs could not be captured."""
    if model.device.type != "cuda":
        return None
    shape = step_shape(model, pack_weights(model, precision).dtype)
    return _decoders.get(shape, partial(new_graph_decoder, model, precision))


def graph_preparations(model: Text2Semantic, precision: Precision = "auto") -> list[Callable[[], None]]:
    """Return what captures the graphs that are still missing for a model, each within a fraction of a second.

    Where memory did not suffice for an earlier voice, it may for this one.
    """
    _decoders.forget_lack_of_memory()
    decoder = graph_decoder(model, precision)
    if decoder is None:
        return []
    return [partial(_prepare, decoder, bucket, model) for bucket in decoder.missing_buckets()]


def release_graph_decoders() -> None:
    """Forget the graph decoders without rows, with their memory; where it did not suffice, it may now."""
    _decoders.forget_lack_of_memory()
    _decoders.release_unused()


def _prepare(decoder: GraphDecoder, bucket: GraphBucket, model: Text2Semantic) -> None:
    try:
        decoder.prepare(bucket, step_weights(model, decoder.shape.dtype))
    except Exception as error:
        decoder.replays.fail(error)
