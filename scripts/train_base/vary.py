"""Every clip at other speeds, for the GPT alone: more ways in which words become tokens cost only their encoding."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import numpy as np
import torch

from GPT_SoVITS.audio import resample
from GPT_SoVITS.features.whisper_content import ContentEncoder
from GPT_SoVITS.sovits.tokens import SemanticTokens
from scripts.train_base.clips import Clip

logger = logging.getLogger(__name__)

RATE, TOKEN = 16_000, 640
FACTORS = ((0.86, 0.95), (1.05, 1.16))
"""Ranges of the speeds, one variant of a clip from each."""
SAVE_EVERY = 500


def vary(
    clips: list[Clip], codebook: SemanticTokens, encoder: ContentEncoder, pointers: dict[str, np.ndarray], out: Path
) -> None:
    """Write to `out`, for each variant `<clip>~<n>`, (2, T): its tokens and the phoneme that each one speaks. Goes on
    where it was stopped."""
    variants = read(out) if out.exists() else {}
    for clip in clips:
        for number, factors in enumerate(FACTORS):
            name = f"{clip.name}~{number}"
            if name in variants or clip.name not in pointers:
                continue
            factor = random.Random(name).uniform(*factors)
            wave = resample(clip.wave.astype(np.float32) / 32768, round(RATE * factor), RATE)
            wave = wave[: len(wave) // TOKEN * TOKEN]
            tokens = codebook.extract(torch.from_numpy(encoder.encode(wave)).T[None])
            before = np.minimum(((np.arange(len(tokens)) + 0.5) * factor).astype(int), len(pointers[clip.name]) - 1)
            variants[name] = np.stack([tokens, pointers[clip.name][before]]).astype(np.int16)
            if len(variants) % SAVE_EVERY == 0:
                _write(out, variants)
                logger.info("%d variants.", len(variants))
    _write(out, variants)


def read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def _write(out: Path, variants: dict[str, np.ndarray]) -> None:
    making = out.with_suffix(".making.npz")
    np.savez(making, allow_pickle=False, **variants)
    making.rename(out)
