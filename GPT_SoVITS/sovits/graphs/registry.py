"""The graph networks of this process: one for each shape of SoVITS that is spoken with on a GPU.

The least recently used go when they take more than their share of the memory, and those whose voices were all
forgotten. Everything here is called on the thread that owns the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from GPT_SoVITS.graphs.registry import GraphRegistry
from GPT_SoVITS.noise import SeededNoise
from GPT_SoVITS.sovits.encoder import EncodedText
from GPT_SoVITS.sovits.graphs.buckets import PassBucket
from GPT_SoVITS.sovits.graphs.network import WORK, EncodedChunk, GraphNetwork
from GPT_SoVITS.sovits.graphs.weights import PassShape, PassWeights, can_be_captured
from GPT_SoVITS.sovits.model import SoVITS

_networks: GraphRegistry[PassShape, GraphNetwork] = GraphRegistry(WORK)


class VoiceGraphs:
    """The passes of one checkpoint. Each returns None where its caller has to do without graphs."""

    def __init__(self, sovits: SoVITS) -> None:
        """Use the network of the checkpoint's shape, from the first pass on."""
        self.weights = PassWeights(sovits)

    def encode(self, vectors: Tensor, text: EncodedText, style: Tensor) -> EncodedChunk | None:
        """Encode the tokens of a chunk; see GraphNetwork."""
        network = self.network()
        return None if network is None else network.encode(self.weights, vectors, text, style)

    def sample_latent(self, encoded: Tensor, style: Tensor, noise: SeededNoise, first: int) -> Tensor | None:
        """Sample the latent of a chunk; see GraphNetwork."""
        network = self.network()
        return None if network is None else network.sample_latent(self.weights, encoded, style, noise, first)

    def generate(self, latents: Sequence[Tensor], styles: Sequence[Tensor]) -> list[Tensor] | None:
        """Generate the waves of chunks; see GraphNetwork."""
        network = self.network()
        return None if network is None else network.generate(self.weights, latents, styles)

    def network(self) -> GraphNetwork | None:
        """Return the network; None where graphs cannot be used."""
        return _networks.get(self.weights.shape, partial(GraphNetwork, self.weights))


def voice_graphs(sovits: SoVITS) -> VoiceGraphs | None:
    """Return the passes of a checkpoint on a GPU; None for one on another device, and of nano.

    What no voice uses any longer is forgotten, and where memory did not suffice for an earlier voice, it may for this.
    """
    if next(sovits.parameters()).device.type != "cuda" or not can_be_captured(sovits):
        return None
    _networks.forget_lack_of_memory()
    for shape, network in list(_networks.kept.items()):
        if not network.voices:
            network.replays.clear()
            del _networks.kept[shape]
    return VoiceGraphs(sovits)


def next_capture(uses: int) -> Callable[[], None] | None:
    """Return what captures a bucket that has run so many times or more without a graph, within a fraction of a second.

    None where there is none.
    """
    for network in _networks.kept.values():
        bucket = network.missing_bucket(uses)
        if bucket is not None:
            return partial(_capture, network, bucket)
    return None


def release_networks() -> None:
    """Forget all networks, for want of memory: chunks are computed without until another voice is loaded."""
    for shape in list(_networks.kept):
        _networks.do_without(shape)


def _capture(network: GraphNetwork, bucket: PassBucket) -> None:
    try:
        network.capture(bucket)
        _make_room(network, bucket)
    except Exception as error:
        network.replays.fail(error)


def _make_room(network: GraphNetwork, bucket: PassBucket) -> None:
    """Forget what the newest graph of a network leaves no room for: other networks, or else that bucket itself."""
    others = [shape for shape, other in _networks.kept.items() if other is not network]
    has_forgotten = False
    while sum(kept.memory_bytes for kept in _networks.kept.values()) > network.max_bytes:
        has_forgotten = True
        if not others:
            network.give_up(bucket)
            break
        _networks.do_without(others.pop(0))
    if has_forgotten and torch.cuda.is_available():
        torch.cuda.empty_cache()
