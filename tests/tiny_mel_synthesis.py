"""A small acoustic model and small vocoders with random weights, of the real classes."""

from __future__ import annotations

from typing import Any

import torch

from GPT_SoVITS.flow_matching.cfm import FlowMatching
from GPT_SoVITS.flow_matching.config import DiTConfig
from GPT_SoVITS.synthesis.mel_synthesis import ChunkedSynthesis, ChunkSizes, MelPrompt
from GPT_SoVITS.vocoders.bigvgan import BigVGAN
from GPT_SoVITS.vocoders.hifigan import HiFiGAN
from GPT_SoVITS.vocoders.sizes import VocoderSizes

MELS = 8
CONDITION = 16
SIZES = ChunkSizes(prompt=12, chunk=40)
VOCODERS: dict[str, type[BigVGAN] | type[HiFiGAN]] = {"bigvgan": BigVGAN, "hifigan": HiFiGAN}


def tiny_sampler() -> FlowMatching:
    torch.manual_seed(1)
    sizes = {"dim": 32, "depth": 2, "heads": 2, "dim_head": 16, "ff_mult": 2, "mel_dim": MELS, "text_dim": CONDITION}
    model = FlowMatching(DiTConfig(**sizes, conv_layers=1))
    for parameter in model.parameters():
        if parameter.ndim < 2:  # those that begin as zeros hide mistakes
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def tiny_sizes(**changes: Any) -> VocoderSizes:
    plain: dict[str, Any] = {
        "mels": MELS,
        "width": 16,
        "rates": (4, 2),
        "kernels": (8, 4),
        "block_kernels": (3, 5),
        "block_dilations": ((1, 3), (1, 3)),
    }
    return VocoderSizes(**plain | changes)


def tiny_vocoder(kind: str = "bigvgan", **changes: Any) -> BigVGAN | HiFiGAN:
    torch.manual_seed(2)
    vocoder: BigVGAN | HiFiGAN = VOCODERS[kind](tiny_sizes(**changes))
    vocoder.eval().requires_grad_(False)
    for name, parameter in vocoder.named_parameters():
        if ".act." not in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return vocoder


def tiny_synthesis(kind: str = "hifigan", *, max_rows: int | None = None) -> ChunkedSynthesis:
    return ChunkedSynthesis(tiny_sampler(), tiny_vocoder(kind), SIZES, max_rows=max_rows)


def tiny_prompt(frames: int = SIZES.prompt) -> MelPrompt:
    source = torch.Generator().manual_seed(3)
    return MelPrompt(
        torch.randn(1, CONDITION, frames, generator=source), torch.randn(1, MELS, frames, generator=source)
    )


def sentence(frames: int, seed: int = 4) -> torch.Tensor:
    """Condition features (1, C, frames)."""
    return torch.randn(1, CONDITION, frames, generator=torch.Generator().manual_seed(seed))
