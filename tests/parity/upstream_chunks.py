"""Upstream's chunked synthesis of v3 and v4, number for number (inference-pipeline §9), faults included.

For comparison alone: the batched way lets sentences share chunks, runs the vocoder across their seams and cuts them
where they would end had no joint shortened the wave. `mel_synthesis.ChunkedSynthesis` is what speaks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from upstream_synthesis import join_waves

from GPT_SoVITS.features.mel import denormalize
from GPT_SoVITS.flow_matching.model import FlowMatchingSoVITS
from GPT_SoVITS.synthesis.mel_synthesis import ChunkSizes, MelPrompt
from GPT_SoVITS.vocoders import Vocoder


@torch.inference_mode()
def synthesize_serially(
    model: FlowMatchingSoVITS,
    vocoder: Vocoder,
    sizes: ChunkSizes,
    features: Tensor,
    prompt: MelPrompt,
    *,
    steps: int,
    noises: Sequence[Tensor],
) -> Tensor:
    """Synthesize one sentence, features (1, C, F), noise (1, M, P + t) for every chunk -> (N,).

    Each chunk is the next one's prompt.
    """
    prompt_frames = prompt.mel.shape[2]
    condition, mel, mels = prompt.condition, prompt.mel, []
    for chunk, noise in zip(torch.split(features, sizes.chunk - prompt_frames, dim=2), noises, strict=True):
        out = model.cfm.sample(torch.cat([condition, chunk], dim=2), mel, steps=steps, noise=noise, compat="reference")
        out = out[:, :, mel.shape[2] :]
        mels.append(out)
        condition, mel = chunk[:, :, -prompt_frames:], out[:, :, -prompt_frames:]
    return vocoder(denormalize(torch.cat(mels, dim=2)))[0, 0]


@torch.inference_mode()
def synthesize_batched(
    model: FlowMatchingSoVITS,
    vocoder: Vocoder,
    sizes: ChunkSizes,
    features: Sequence[Tensor],
    prompt: MelPrompt,
    *,
    overlap: int,
    steps: int,
    noise: Tensor,
) -> tuple[list[Tensor], list[int]]:
    """Synthesize sentences (1, C, F) in one row of chunks, which share `overlap` frames.

    noise (n, M, P + L) -> waves (N,) of the sentences, offset of every joint.
    """
    hop = vocoder.hop
    room = sizes.chunk - prompt.mel.shape[2]
    row = F.pad(torch.cat(list(features), dim=2), (overlap, 0))
    starts = range(0, row.shape[2], room - overlap)
    padding = max(0, starts[-1] + room - row.shape[2])
    row = F.pad(row, (0, padding))
    chunks = torch.cat([row[:, :, start : start + room] for start in starts])  # (n, C, L)
    condition = torch.cat([prompt.condition.expand(len(chunks), -1, -1), chunks], dim=2)
    mel = model.cfm.sample(condition, prompt.mel, steps=steps, noise=noise, compat="reference")[:, :, -room:]
    wave = vocoder(denormalize(mel.transpose(0, 1).flatten(1)[None]))[0, 0]  # as if it were one mel
    joined = join_waves(wave.split(room * hop), overlap * hop)
    speech = joined.wave[overlap * hop : len(joined.wave) - padding * hop]
    return list(speech.split([sentence.shape[2] * hop for sentence in features])), joined.offsets
