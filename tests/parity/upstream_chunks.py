"""The original's chunked synthesis of v3 and v4, number for number (inference-pipeline §9), faults included.

For comparison alone: the batched way lets sentences share chunks, runs the vocoder across their seams and cuts them
where they would end had no joint shortened the wave. `chunks.ChunkedSynthesis` is what speaks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from GPT_SoVITS.features.mel import denormalise
from GPT_SoVITS.synthesis.mel_chunking import ChunkSizes
from GPT_SoVITS.synthesis.mel_synthesis import MelPrompt, MelSampler
from GPT_SoVITS.synthesis.sola import join
from GPT_SoVITS.vocoders import Vocoder


@torch.inference_mode()
def serial(
    model: MelSampler,
    vocoder: Vocoder,
    sizes: ChunkSizes,
    features: Tensor,
    prompt: MelPrompt,
    *,
    steps: int,
    noises: Sequence[Tensor],
) -> Tensor:
    """One sentence, features (1, C, F), noise (1, M, P + t) for every piece -> (N,). Each piece is the next prompt."""
    known = prompt.mel.shape[2]
    condition, mel, made = prompt.condition, prompt.mel, []
    for piece, noise in zip(features.split(sizes.chunk - known, dim=2), noises, strict=True):
        out = model.sample(torch.cat([condition, piece], dim=2), mel, steps=steps, noise=noise, compat="reference")
        out = out[:, :, mel.shape[2] :]
        made.append(out)
        condition, mel = piece[:, :, -known:], out[:, :, -known:]
    return vocoder(denormalise(torch.cat(made, dim=2)))[0, 0]


@torch.inference_mode()
def batched(
    model: MelSampler,
    vocoder: Vocoder,
    sizes: ChunkSizes,
    features: Sequence[Tensor],
    prompt: MelPrompt,
    *,
    steps: int,
    noise: Tensor,
) -> tuple[list[Tensor], list[int]]:
    """Sentences (1, C, F) in one row of chunks, noise (n, M, P + L) -> (waves (N,), offset of every joint)."""
    known, hop, overlap = prompt.mel.shape[2], vocoder.hop, sizes.overlap
    room = sizes.chunk - known
    row = F.pad(torch.cat(list(features), dim=2), (overlap, 0))
    starts = range(0, row.shape[2], room - overlap)
    padding = max(0, starts[-1] + room - row.shape[2])
    row = F.pad(row, (0, padding))
    pieces = torch.cat([row[:, :, start : start + room] for start in starts])  # (n, C, L)
    condition = torch.cat([prompt.condition.expand(len(pieces), -1, -1), pieces], dim=2)
    made = model.sample(condition, prompt.mel, steps=steps, noise=noise, compat="reference")[:, :, -room:]
    wave = vocoder(denormalise(made.transpose(0, 1).flatten(1)[None]))[0, 0]  # as if it were one mel
    joined = join(wave.split(room * hop), overlap * hop)
    spoken = joined.wave[overlap * hop : len(joined.wave) - padding * hop]
    return list(spoken.split([one.shape[2] * hop for one in features])), joined.offsets
