"""The passes of chunks as CUDA graphs: the memory and the graphs that all checkpoints of a shape share.

Before a pass, its checkpoint's weights are copied to the static ones if another's are there. A pass whose bucket was
not captured yet runs operation by operation, on the same memory and with the same result; the engine captures it when
nobody waits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple
from weakref import WeakSet, ref

import torch
from torch import Tensor

from GPT_SoVITS.graphs.buckets import smallest
from GPT_SoVITS.graphs.replays import Replays
from GPT_SoVITS.noise import SeededNoise
from GPT_SoVITS.sovits.encoder import EncodedText
from GPT_SoVITS.sovits.graphs.buckets import (
    FRAME_BUCKETS,
    PHONEME_BUCKETS,
    ROW_BUCKETS,
    EncoderBucket,
    GeneratorBucket,
    LatentBucket,
    PassBucket,
)
from GPT_SoVITS.sovits.graphs.passes import EncoderPass, GeneratorPass, LatentPass
from GPT_SoVITS.sovits.graphs.weights import PassWeights, StaticNetwork

WORK = "chunks of audio are computed"
SHARE_OF_FREE_MEMORY = 8
"""Networks take this part of what is free at most, and no more and no less than these:"""
MIN_BYTES, MAX_BYTES = 512 << 20, 2 << 30


class EncodedChunk(NamedTuple):
    """What the text encoder returns."""

    frames: Tensor
    """(1, H, T)."""
    attention: Tensor
    """(T, S) to the phonemes, the mean of all heads; on the host."""


class GraphNetwork:
    """Passes of one shape in static memory. Not thread-safe."""

    def __init__(self, weights: PassWeights) -> None:
        """Allocate memory for checkpoints of the same shape."""
        self.shape = weights.shape
        self.network = StaticNetwork(weights)
        self.replays: Replays[PassBucket] = Replays(weights.shape.device, WORK)
        self.voices: WeakSet[PassWeights] = WeakSet()
        """Those that have used it and are still loaded."""
        self.max_bytes = _max_bytes(weights.shape.device)
        """Of all networks on the device together."""
        self._encoders: dict[EncoderBucket, EncoderPass] = {}
        self._latents: dict[LatentBucket, LatentPass] = {}
        self._generators: dict[GeneratorBucket, GeneratorPass] = {}
        self._loaded: ref[PassWeights] | None = None
        self._uses: Counter[PassBucket] = Counter()
        """Runs of buckets that were not captured."""
        self._too_large: int | None = None
        """Buckets with so many frames take too much memory to be captured."""

    def is_in_use(self) -> bool:
        """Return False: between two passes, nothing is left in it."""
        return False

    @property
    def memory_bytes(self) -> int:
        """What the weights, the buffers and the graphs' pool take."""
        buffers = sum(work.buffers.memory_bytes for work in self._passes())
        return self.network.memory_bytes + buffers + self.replays.pool_bytes

    def encode(self, weights: PassWeights, vectors: Tensor, text: EncodedText, style: Tensor) -> EncodedChunk | None:
        """Encode tokens' vectors (1, D, T) with their text and a text style (1, I, 1); None where they are too long."""
        frames, phonemes = vectors.shape[2], text.latent.shape[2]
        if frames > FRAME_BUCKETS[-1] or phonemes > PHONEME_BUCKETS[-1]:
            return None
        bucket = EncoderBucket(smallest(FRAME_BUCKETS, frames), smallest(PHONEME_BUCKETS, phonemes))
        if bucket not in self._encoders:
            self._encoders[bucket] = EncoderPass(self.shape, self.network, bucket)
        work = self._encoders[bucket]
        work.write(vectors, text, style)
        self._run(work, weights)
        attention = work.attention[0, :frames, :phonemes].to("cpu", copy=True)
        return EncodedChunk(work.encoded[:, :, :frames].clone(), attention)

    def sample_latent(
        self, weights: PassWeights, encoded: Tensor, style: Tensor, noise: SeededNoise, first: int
    ) -> Tensor | None:
        """Sample the latent (1, C, T) of encoded frames (1, H, T), of which the first has this number in the sentence.

        The style is (1, G, 1). None where they are too many.
        """
        frames = encoded.shape[2]
        if frames > FRAME_BUCKETS[-1]:
            return None
        bucket = LatentBucket(smallest(FRAME_BUCKETS, frames))
        if bucket not in self._latents:
            self._latents[bucket] = LatentPass(self.shape, self.network, bucket)
        work = self._latents[bucket]
        work.write(encoded, style, noise, first)
        self._run(work, weights)
        return work.latent[:, :, :frames].clone()

    def generate(
        self, weights: PassWeights, latents: Sequence[Tensor], styles: Sequence[Tensor]
    ) -> list[Tensor] | None:
        """Generate the waves (N_i,) of latents (1, C, T_i) and styles (1, G, 1); None where they are too many."""
        frames = max(latent.shape[2] for latent in latents)
        if frames > FRAME_BUCKETS[-1] or len(latents) > ROW_BUCKETS[-1]:
            return None
        bucket = GeneratorBucket(smallest(ROW_BUCKETS, len(latents)), smallest(FRAME_BUCKETS, frames))
        if bucket not in self._generators:
            self._generators[bucket] = GeneratorPass(self.shape, self.network, bucket)
        work = self._generators[bucket]
        work.write(latents, styles)
        self._run(work, weights)
        hop = self.network.sovits.dec.hop
        return [work.waves[row, 0, : latent.shape[2] * hop].clone() for row, latent in enumerate(latents)]

    def missing_bucket(self, uses: int) -> PassBucket | None:
        """Return a bucket that has run so many times or more without a graph, the most used first; None for none."""
        if not self.replays.captures:
            return None
        for bucket, count in self._uses.most_common():
            if count < uses:
                return None
            if self._too_large is None or bucket.total_frames < self._too_large:
                return bucket
        return None

    @torch.inference_mode()
    def capture(self, bucket: PassBucket) -> None:
        """Capture a bucket that has run, with what is in its memory."""
        self.replays.run(next(work for work in self._passes() if work.bucket == bucket))
        del self._uses[bucket]

    def give_up(self, bucket: PassBucket) -> None:
        """Forget all graphs, and never capture a bucket of this size again: it takes too much memory."""
        self._too_large = bucket.total_frames
        self.replays.clear()

    def _passes(self) -> list[EncoderPass | LatentPass | GeneratorPass]:
        return [*self._encoders.values(), *self._latents.values(), *self._generators.values()]

    def _run(self, work: EncoderPass | LatentPass | GeneratorPass, weights: PassWeights) -> None:
        if self._loaded is None or self._loaded() is not weights:
            self.network.load(weights)
            self._loaded = ref(weights)
            self.voices.add(weights)
        if work.bucket in self.replays:
            self.replays.run(work)
        else:
            work.run()
            self._uses[work.bucket] += 1


def _max_bytes(device: torch.device) -> int:
    if device.type != "cuda" or not torch.cuda.is_available():
        return MAX_BYTES
    free, _ = torch.cuda.mem_get_info(device)
    return min(max(free // SHARE_OF_FREE_MEMORY, MIN_BYTES), MAX_BYTES)
