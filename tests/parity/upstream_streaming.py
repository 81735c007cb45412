"""Upstream's token streaming, number for number (inference-pipeline §13.2 and §13.3), faults included.

For comparison alone: it encodes the whole prefix for every chunk, fades with weights that sum to up to 1.41, speaks
some tokens twice and puts the last chunk on without a fade. `streaming_decoder.StreamingDecoder` is what speaks.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from upstream_decode import DecodedChunk, decode_chunk
from upstream_synthesis import join_waves

from GPT_SoVITS.sovits.model import SoVITS
from GPT_SoVITS.synthesis.streaming_decoder import NOISE_SCALE

FEW_TOKENS = 10
"""A chunk with fewer than this reads more of the one before it."""


class UpstreamStream:
    """One sentence, chunk by chunk."""

    def __init__(
        self,
        sovits: SoVITS,
        phones: Tensor,
        style: Tensor,
        *,
        speed: float = 1.0,
        overlap: int = 2,
        noise_scale: float = NOISE_SCALE,
    ) -> None:
        """Prepare phones (S,), style (1, G, 1); `overlap` in tokens."""
        self.sovits = sovits
        self.phones = phones[None]
        self.style = style
        self.speed = speed
        self.overlap = overlap
        self.noise_scale = noise_scale
        self.samples_per_token = sovits.dec.hop * 2 / speed
        self.held = math.ceil(overlap * self.samples_per_token)
        """Samples that every chunk but the last keeps back."""
        self.tokens = torch.empty(0, dtype=torch.long, device=style.device)
        self.before: Tensor | None = None
        """The wave of the previous chunk, (N,)."""
        self.latent: Tensor | None = None
        self.offsets: list[int] = []

    @torch.inference_mode()
    def push(self, tokens: Tensor | None, *, final: bool, noise: Tensor | None = None) -> Tensor:
        """Return the samples (N,) that are emitted for a chunk of tokens (n,); None marks the end of a sentence.

        Upstream fails when that mark comes before any chunk; here there are simply no samples.
        """
        if tokens is None:
            return torch.empty(0) if self.before is None else self.before[-self.held :]
        chunk = self.decode(tokens, noise)
        wave = chunk.wave[0, 0]
        if self.before is None:
            emitted = wave if final else wave[: -self.held]
        elif final:
            emitted = wave
        else:
            joined = join_waves([self.before, wave], self.held)
            self.offsets += joined.offsets
            emitted = joined.wave[len(self.before) - self.held : -self.held]
        self.before = wave
        return emitted

    @torch.inference_mode()
    def decode(self, tokens: Tensor, noise: Tensor | None = None) -> DecodedChunk:
        """Decode the prefix with these tokens at its end, and keep of it what they need."""
        first = self.latent is None
        count, overlap = len(tokens), self.overlap
        self.tokens = torch.cat([self.tokens, tokens.to(self.tokens)])
        if not first and count < FEW_TOKENS:
            overlap += FEW_TOKENS - count
        chunk = decode_chunk(
            self.sovits,
            self.tokens[None, None],
            self.phones,
            self.style,
            speed=self.speed,
            noise_scale=self.noise_scale,
            result_length=None if first else count + overlap,
            overlap=None if self.latent is None else self.latent[:, :, -2 * overlap :],
            noise=noise,
        )
        self.latent = chunk.latent
        if overlap > self.overlap:
            size = int((self.overlap + count) * self.samples_per_token)
            return chunk._replace(wave=chunk.wave[:, :, -size:])
        return chunk
