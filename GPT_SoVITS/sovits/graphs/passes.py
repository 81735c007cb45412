"""The parts of the work on a chunk that have static shapes, in memory whose addresses never change.

A chunk that is shorter than its bucket is masked, so that its frames are what they are without padding. What the host
does between two passes, such as cross-fading frames, stays with the caller.

Shapes: R rows, T frames, S phonemes, D width of a token's vector, C latent channels, H hidden channels, G width of a
style, I width of a text style, N samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from GPT_SoVITS.graphs.uploads import upload
from GPT_SoVITS.noise import ROUNDS, NoisePurpose, SeededNoise, normal_noise_at, round_keys
from GPT_SoVITS.sovits.encoder import EncodedText
from GPT_SoVITS.sovits.graphs.buckets import EncoderBucket, GeneratorBucket, LatentBucket
from GPT_SoVITS.sovits.graphs.weights import PassShape, StaticNetwork
from GPT_SoVITS.sovits.layers import length_mask
from GPT_SoVITS.sovits.model import NOISE_SCALE


class PassBuffers:
    """What a pass reads and writes; a run writes all of its results anew."""

    def __init__(self, device: torch.device) -> None:
        """Begin without memory on a device."""
        self.device = device
        self.tensors: list[Tensor] = []
        self.results: list[Tensor] = []

    @torch.inference_mode(False)
    def allocate(self, *shape: int, dtype: torch.dtype = torch.float32, result: bool = False) -> Tensor:
        """Allocate zeros."""
        tensor = torch.zeros(*shape, dtype=dtype, device=self.device)
        self.tensors.append(tensor)
        if result:
            self.results.append(tensor)
        return tensor

    @property
    def memory_bytes(self) -> int:
        """What they take."""
        return sum(tensor.nbytes for tensor in self.tensors)

    def snapshot(self) -> list[Tensor]:
        """Copy the results."""
        return [result.clone() for result in self.results]

    def restore(self, snapshot: Sequence[Tensor]) -> None:
        """Write a snapshot back."""
        torch._foreach_copy_(self.results, list(snapshot))


class EncoderPass:
    """The text encoder of one chunk, but for its text: vectors of tokens to encoded frames."""

    def __init__(self, shape: PassShape, network: StaticNetwork, bucket: EncoderBucket) -> None:
        """Allocate the memory."""
        self.network, self.bucket, self.buffers = network, bucket, PassBuffers(shape.device)
        config, allocate = shape.config, self.buffers.allocate
        self.vectors = allocate(1, config.ssl_dim, bucket.frames)
        self.text = allocate(1, config.hidden_channels, bucket.phonemes)
        self.style = allocate(1, config.mrte_hidden if config.speaker_vector else config.gin_channels, 1)
        self.phonemes = allocate(1, bucket.phonemes, dtype=torch.long)
        """Their ids, which the attention does not read."""
        self.lengths = allocate(2, dtype=torch.long)
        """Frames and phonemes of the chunk."""
        self.encoded = allocate(1, config.hidden_channels, bucket.frames, result=True)
        self.attention = allocate(1, bucket.frames, bucket.phonemes, result=True)

    def write(self, vectors: Tensor, text: EncodedText, style: Tensor) -> None:
        """Write a chunk: vectors (1, D, T) of its tokens, its sentence's text and a text style (1, I, 1)."""
        lengths = [vectors.shape[2], text.latent.shape[2]]
        self.lengths.copy_(upload(lengths, torch.long, self.buffers.device))
        _fill(self.vectors, vectors)
        _fill(self.text, text.latent)
        self.style.copy_(style)

    def run(self) -> None:
        """Encode the frames, and average the attention of all heads."""
        mask = length_mask(self.lengths[:1], self.bucket.frames)
        text_mask = length_mask(self.lengths[1:], self.bucket.phonemes)
        text, weights = EncodedText(self.text, text_mask, self.phonemes), list[Tensor]()
        encoder = self.network.sovits.enc_p
        self.encoded.copy_(encoder.encode(self.vectors, mask, text, self.style, observe=weights.append))
        self.attention.copy_(weights[0].float().mean(dim=1))


class LatentPass:
    """Prior, noise and flow of one chunk: encoded frames to the latent."""

    def __init__(self, shape: PassShape, network: StaticNetwork, bucket: LatentBucket) -> None:
        """Allocate the memory."""
        self.network, self.bucket, self.buffers = network, bucket, PassBuffers(shape.device)
        config, allocate = shape.config, self.buffers.allocate
        self.encoded = allocate(1, config.hidden_channels, bucket.frames)
        self.style = allocate(1, config.gin_channels, 1)
        self.numbers = allocate(2 + 2 * ROUNDS, dtype=torch.long)
        """Frames of the chunk, the number of the first of them in the sentence, and the keys of its noise."""
        self.latent = allocate(1, config.inter_channels, bucket.frames, result=True)

    def write(self, encoded: Tensor, style: Tensor, noise: SeededNoise, first: int) -> None:
        """Write a chunk: encoded frames (1, H, T), of which the first has this number, and a style (1, G, 1)."""
        keys = [key for pair in round_keys(noise) for key in pair]
        self.numbers.copy_(upload([encoded.shape[2], first, *keys], torch.long, self.buffers.device))
        _fill(self.encoded, encoded)
        self.style.copy_(style)

    def run(self) -> None:
        """Sample the latent."""
        sovits, frames = self.network.sovits, self.bucket.frames
        prior = sovits.enc_p.prior(self.encoded, length_mask(self.numbers[:1], frames))
        steps = self.numbers[1:2] + torch.arange(frames, device=self.buffers.device)  # (T,)
        keys = self.numbers[2:].view(1, ROUNDS, 2)
        noise = normal_noise_at(keys, steps[None], prior.mean.shape[1], NoisePurpose.LATENT)  # (1, T, C)
        self.latent.copy_(sovits.sample_latent(prior, self.style, NOISE_SCALE, noise.transpose(1, 2)))


class GeneratorPass:
    """The generator of several chunks: latents to waves."""

    def __init__(self, shape: PassShape, network: StaticNetwork, bucket: GeneratorBucket) -> None:
        """Allocate the memory."""
        self.network, self.bucket, self.buffers = network, bucket, PassBuffers(shape.device)
        config, allocate, dtype = shape.config, self.buffers.allocate, shape.generator_dtype
        rows, frames = bucket.rows, bucket.frames
        self.latents = allocate(rows, config.inter_channels, frames, dtype=dtype)
        self.styles = allocate(rows, config.gin_channels, 1, dtype=dtype)
        self.lengths = allocate(rows, dtype=torch.long)
        self.waves = allocate(rows, 1, frames * network.sovits.dec.hop, result=True)

    def write(self, latents: Sequence[Tensor], styles: Sequence[Tensor]) -> None:
        """Write chunks: latents (1, C, T_i) and styles (1, G, 1); the other rows are empty."""
        lengths = [latent.shape[2] for latent in latents] + [0] * (self.bucket.rows - len(latents))
        self.lengths.copy_(upload(lengths, torch.long, self.buffers.device))
        self.latents.zero_()
        for row, latent in enumerate(latents):
            self.latents[row : row + 1, :, : latent.shape[2]].copy_(latent)
        self.styles[: len(styles)].copy_(torch.cat(list(styles)))

    def run(self) -> None:
        """Generate the waves."""
        self.waves.copy_(self.network.sovits.dec(self.latents, self.styles, self.lengths))


def _fill(memory: Tensor, values: Tensor) -> None:
    """Write values (1, C, T) to the beginning of memory, and zeros behind them."""
    memory.zero_()
    memory[:, :, : values.shape[2]].copy_(values)
