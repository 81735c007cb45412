"""Generation of sequences that share their settings."""

from __future__ import annotations

from collections.abc import Sequence

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
    return [row.tolist() for row in tokens]
