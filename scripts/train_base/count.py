"""Counts, over all clips, of the tokens that speak a phoneme and of how long it lasts: what pointers know at first."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from GPT_SoVITS.gpt.guided_attention import limit_steps
from GPT_SoVITS.gpt.pointer import MAX_TOKENS_PER_PHONEME
from GPT_SoVITS.text.symbols import symbols
from scripts.train_base.acoustic import Set

FEWEST = 20
"""Tokens of a phoneme below which nothing is said of it."""
DOUBT = 2.0
"""Tokens of average speech that are added to those of every phoneme."""
LEAST, MOST = -4.0, 6.0
HALF = 0.5
"""The heads know something of durations themselves, so half of what is counted is added."""


def count(data: Set, pointers: dict[str, np.ndarray], phones: int, tokens: int) -> tuple[Tensor, Tensor]:
    """(phones, tokens) and (phones, MAX_TOKENS_PER_PHONEME), as `PointerStatistics` describes them."""
    spoken, stayed, moved = (
        torch.zeros(phones, tokens),
        torch.zeros(phones, MAX_TOKENS_PER_PHONEME),
        torch.zeros(phones, MAX_TOKENS_PER_PHONEME),
    )
    for clip in data.clips:
        if clip.name not in pointers:
            continue
        pointer = limit_steps(torch.from_numpy(pointers[clip.name].astype(np.int64)))
        codes = torch.from_numpy(data.codes[clip.name].astype(np.int64))[: len(pointer)]
        phonemes = torch.from_numpy(clip.phones.astype(np.int64))[pointer]
        spoken.index_put_((phonemes, codes), torch.ones(len(codes)), accumulate=True)
        runs = torch.unique_consecutive(pointer, return_counts=True)[1].tolist()
        for phone, lasted in zip(torch.from_numpy(clip.phones.astype(np.int64)).tolist(), runs, strict=False):
            stayed[phone, : min(lasted - 1, MAX_TOKENS_PER_PHONEME)] += 1
            if lasted <= MAX_TOKENS_PER_PHONEME:
                moved[phone, lasted - 1] += 1
    average = spoken.sum(dim=0) / spoken.sum()
    kin = _kin_sums(spoken, spoken.sum(dim=1))
    share = (kin + DOUBT * average) / (kin.sum(dim=1, keepdim=True) + DOUBT)
    likely = (share / average.clamp_min(1e-9)).log().clamp(LEAST, MOST)
    likely[:, -1] = 0.0  # the end is no phoneme's
    likely[kin.sum(dim=1) < FEWEST] = 0.0
    usual = ((moved.sum() + 1) / (stayed.sum() + 1)).log()
    enough = moved.sum(dim=1)
    moved, stayed = _kin_sums(moved, enough), _kin_sums(stayed, enough)
    odds = (moved + 0.5).log() - (stayed + 0.5).log() - usual
    odds[moved.sum(dim=1) < FEWEST] = 0.0
    return likely, HALF * odds.clamp(LEAST, MOST)


def _kin_sums(counts: Tensor, seen: Tensor) -> Tensor:
    """Return the counts (P, N) with those of rare phonemes replaced by the sum over all tones or stresses of the same.

    `seen` (P,) says how often each phoneme was counted.
    """
    names = symbols("nano")
    kin: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        kin.setdefault(name.rstrip("0123456789") or name, []).append(index)
    sums = counts.clone()
    for members in kin.values():
        rare = [index for index in members if seen[index] < FEWEST]
        sums[rare] = counts[members].sum(dim=0)
    return sums
