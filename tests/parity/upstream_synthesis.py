"""Upstream's batching, joints, pauses and samples, number for number, faults included (inference-pipeline §6 to §11).

For comparison alone: the product has none of this. It batches by the share of padding, speaks each row by itself,
counts pauses at the output's rate and clips where upstream wraps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from GPT_SoVITS.audio import limit_peak
from GPT_SoVITS.sovits.model import SoVITS
from GPT_SoVITS.synthesis import sola
from GPT_SoVITS.synthesis.acoustic_decoder import AcousticConditions

PAUSE_RATE = 32_000
"""Hz by which upstream counts pauses, whatever rate it speaks at (§15.2)."""
FULL_SCALE = 32_768


def consecutive_batches(count: int, batch_size: int) -> list[list[int]]:
    """Return indices 0 … count - 1 in their own order, `batch_size` to a batch."""
    return [list(range(start, min(start + batch_size, count))) for start in range(0, count, batch_size)]


def length_batches(lengths: Sequence[int], batch_size: int, threshold: float) -> list[list[int]]:
    """Group sentences by their characters, by a rule that looks at the middle length and lets a long one pass."""
    remaining = sorted(range(len(lengths)), key=lengths.__getitem__)
    batches = []
    while remaining:
        count = min(batch_size, len(remaining))
        while count > 1 and _middle_share([lengths[i] for i in remaining[:count]]) < threshold:
            count -= 1
        batches.append(remaining[:count])
        remaining = remaining[count:]
    return batches


def _middle_share(lengths: list[int]) -> np.float32:
    ascending = np.asarray(lengths, dtype=np.float32)
    return ascending[len(ascending) // 2] / (ascending.mean() + np.float32(1e-8))


def decode_joined(
    sovits: SoVITS, tokens: Sequence[Tensor], conditions: Sequence[AcousticConditions], noise_scale: float
) -> list[Tensor]:
    """Decode all sentences as one long one, with the first one's style and noise, and cut the wave (N,) afterwards."""
    first = conditions[0]
    assert isinstance(first.noise, Tensor | None)
    wave = sovits.decode(
        torch.cat(list(tokens))[None, None],
        torch.cat([row.phones for row in conditions])[None],
        ge=first.style,
        noise_scale=noise_scale,
        noise=first.noise,
    )[0, 0]
    return list(torch.split(wave, [2 * len(row) * sovits.dec.hop for row in tokens]))


@dataclass(frozen=True, slots=True)
class JoinedWave:
    """One wave made of many fragments."""

    wave: Tensor
    """(N,)."""
    offsets: list[int]
    """Samples that were dropped from the beginning of every fragment but the first."""


def join_waves(fragments: Sequence[Tensor], overlap: int, *, search: int = sola.SEARCH) -> JoinedWave:
    """Join waves (N,), each of which begins with about the same `overlap` samples that the one before ended with.

    Every join shortens the total by the overlap and the offset.
    """
    wave, offsets = fragments[0], []
    done: list[Tensor] = []
    for fragment in fragments[1:]:
        shared = min(overlap, len(wave), len(fragment))
        if shared == 0:
            done.append(wave)
            wave, offset = fragment, 0
        else:
            end = len(wave) - shared
            offset = sola.best_offset(wave[end:], fragment, search=search)
            done.append(wave[:end])
            wave = sola.crossfade(wave[end:], fragment[offset:])
        offsets.append(offset)
    return JoinedWave(torch.cat([*done, wave]), offsets)


def join_sentences(sentences: Sequence[np.ndarray], interval: float) -> np.ndarray:
    """Limit every sentence's peak by itself and put `interval` seconds of silence, counted at 32 kHz, behind it."""
    silence = np.zeros(int(PAUSE_RATE * interval), dtype=np.float32)
    parts = [part for sentence in sentences for part in (limit_peak(sentence), silence)]
    return np.concatenate([np.zeros(0, dtype=np.float32), *parts])


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Cut off the fraction, and let +1.0 become -1.0 (§15.1)."""
    return (samples * FULL_SCALE).astype(np.int32).astype(np.int16)
