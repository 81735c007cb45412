"""Starts of rows, and the generation of sequences that share their settings."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from GPT_SoVITS.gpt.decoder import GenerationInput
from GPT_SoVITS.gpt.generate import generate_batch
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.sampling import SamplingSettings
from GPT_SoVITS.noise import SeededNoise


def generate_seeded(
    model: Text2Semantic, rows: Sequence[GenerationInput], settings: SamplingSettings, seeds: Sequence[int], **options
) -> list[list[int]]:
    noises = [SeededNoise(seed) for seed in seeds]
    tokens = generate_batch(model, rows, [settings] * len(rows), noises, **options)
    return [sequence.tolist() for sequence in tokens]


def row(seed: int) -> GenerationInput:
    """One of some starts of different lengths, with and without features and prompt."""
    generator = torch.Generator().manual_seed(seed)
    length = int(torch.randint(3, 40, (1,), generator=generator))
    phones = torch.randint(0, 732, (length,), generator=generator)
    bert = torch.randn(1024, length, generator=generator) if seed % 3 else None
    prompt = torch.randint(0, 64, (int(torch.randint(1, 30, (1,), generator=generator)),), generator=generator)
    return GenerationInput(phones, bert, prompt if seed % 4 else None)
