"""Cut a recording at its silences (specification s2-sovits §23), and what has none at its quietest points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from GPT_SoVITS.audio import frame_rms, write_wav

LONGEST_SECONDS = 12.0
"""A clip without pauses is cut again above this; recognition and training work best on single phrases."""
SHORTEST_SECONDS = 0.6
"""Training takes nothing shorter (§14)."""
LAST_PIECE_SECONDS = 2.0
"""What a cut without a pause leaves over is at least this long."""
QUIET_WINDOW_SECONDS = 0.12
"""The gap between two words, over which the quietest point is looked for."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of a recording."""

    samples: np.ndarray
    start: int
    """First sample in the recording."""
    end: int
    """As the file name says it; may lie a little beyond the recording."""


class Slicer:
    """Times in milliseconds, the threshold in dB of full scale; every derived count is in frames of `hop` samples."""

    def __init__(
        self,
        sample_rate: int,
        *,
        threshold: float = -40.0,
        min_length: int = 5000,
        min_interval: int = 300,
        hop_size: int = 20,
        max_sil_kept: int = 5000,
        max_seconds: float | None = None,
    ) -> None:
        if not min_length >= min_interval >= hop_size:
            raise ValueError("min_length >= min_interval >= hop_size must hold")
        if max_sil_kept < hop_size:
            raise ValueError("max_sil_kept >= hop_size must hold")
        interval = sample_rate * min_interval / 1000
        self.sample_rate = sample_rate
        self.threshold = 10 ** (threshold / 20.0)
        self.hop = round(sample_rate * hop_size / 1000)
        self.window = min(round(interval), 4 * self.hop)
        self.min_length = round(sample_rate * min_length / 1000 / self.hop)
        self.min_interval = round(interval / self.hop)
        self.max_sil_kept = round(sample_rate * max_sil_kept / 1000 / self.hop)
        self.max_seconds = max_seconds

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any], sample_rate: int) -> Slicer:
        """From the parameters of the stage `audio_slice`; what it does not name stays as in the web interface."""
        web = {"threshold": -34, "min_length": 4000, "min_interval": 300, "hop_size": 10, "max_sil_kept": 500}
        return cls(sample_rate, max_seconds=LONGEST_SECONDS, **{name: parameters.get(name, web[name]) for name in web})

    def slice(self, samples: np.ndarray) -> list[Chunk]:
        """(N,) or (channels, N) -> pieces in order; none when all of it is silent."""
        count = samples.shape[-1]
        mono = samples if samples.ndim == 1 else samples.mean(axis=0)
        if count <= self.min_length:  # a number of frames: hardly ever true
            return [Chunk(samples, 0, count)]
        rms = frame_rms(mono, self.hop, self.window)
        pieces = _between(self.cuts(rms), len(rms))
        chunks = [
            Chunk(samples[..., first * self.hop : min(count, last * self.hop)], first * self.hop, last * self.hop)
            for first, last in pieces
        ]
        if self.max_seconds is None:
            return chunks
        return [part for chunk in chunks for part in split_long(chunk, self.sample_rate, self.max_seconds)]

    def cuts(self, rms: np.ndarray) -> list[tuple[int, int]]:
        """Frames to leave out, each from first to last; equal ends leave out nothing and only cut."""
        cuts: list[tuple[int, int]] = []
        silence_start: int | None = None
        clip_start = 0
        for frame, level in enumerate(rms):
            if level < self.threshold:
                silence_start = frame if silence_start is None else silence_start
                continue
            if silence_start is None:
                continue
            leading = silence_start == 0 and frame > self.max_sil_kept
            middle = frame - silence_start >= self.min_interval and frame - clip_start >= self.min_length
            if leading or middle:
                cut = self._cut(rms, silence_start, frame)
                cuts.append(cut)
                clip_start = cut[1]
            silence_start = None
        total = len(rms)
        if silence_start is not None and total - silence_start >= self.min_interval:
            end = min(total, silence_start + self.max_sil_kept)
            cuts.append((_quietest(rms, silence_start, end), total + 1))
        return cuts

    def _cut(self, rms: np.ndarray, start: int, frame: int) -> tuple[int, int]:
        """What to leave out of a silence from `start` to just before `frame`."""
        kept = self.max_sil_kept
        if frame - start <= kept:
            place = _quietest(rms, start, frame)
            return (0, place) if start == 0 else (place, place)
        left = _quietest(rms, start, start + kept)
        right = _quietest(rms, frame - kept, frame)
        if start == 0:
            return 0, right
        if frame - start <= 2 * kept:
            place = _quietest(rms, frame - kept, start + kept)
            return min(left, place), max(right, place)
        return left, right


def split_long(chunk: Chunk, sample_rate: int, max_seconds: float) -> list[Chunk]:
    """The chunk in pieces of at most `max_seconds`, cut where it is quietest; a short one stays as it is."""
    most, least = round(max_seconds * sample_rate), round(LAST_PIECE_SECONDS * sample_rate)
    hop = max(1, sample_rate // 100)
    samples, start, parts = chunk.samples, chunk.start, []
    while samples.shape[-1] > most:
        mono = samples if samples.ndim == 1 else samples.mean(axis=0)
        rms = frame_rms(mono[:most], hop, round(QUIET_WINDOW_SECONDS * sample_rate))
        first = most // 2 // hop
        last = min(most, samples.shape[-1] - least) // hop
        place = (first + int(np.argmin(rms[first : max(first + 1, last)]))) * hop
        parts.append(Chunk(samples[..., :place], start, start + place))
        samples, start = samples[..., place:], start + place
    return [*parts, Chunk(samples, start, chunk.end)]


def write_segments(
    chunks: Sequence[Chunk], folder: Path, sample_rate: int, *, name: str, peak: float = 0.9, mix: float = 0.25
) -> tuple[list[str], list[dict[str, str]]]:
    """Write each piece as `<name>_<start>_<end>.wav`; the names written, and what was left out and why."""
    written, left_out = [], []
    for chunk in chunks:
        file_name = f"{name}_{chunk.start:010d}_{chunk.end:010d}.wav"
        seconds = chunk.samples.shape[-1] / sample_rate
        if seconds < SHORTEST_SECONDS:
            left_out.append({"segment": file_name, "reason": f"{seconds:.2f} s are too short"})
        elif not np.any(chunk.samples):
            left_out.append({"segment": file_name, "reason": "it is silent"})
        else:
            write_wav(folder / file_name, mix_loudness(chunk.samples, peak, mix), sample_rate)
            written.append(file_name)
    return written, left_out


def mix_loudness(samples: np.ndarray, peak: float, mix: float) -> np.ndarray:
    """(N,) float -> int16: a share `mix` of the clip brought to `peak`, the rest as it was (§23, write-out)."""
    found = np.abs(samples).max(initial=0.0)
    if found == 0.0:
        return np.zeros(samples.shape, np.int16)
    limited = samples / found if found > 1.0 else samples
    # `found` is from before the limiting, as the reference has it; clipped where that goes beyond full scale.
    mixed = limited / found * (peak * mix) + (1 - mix) * limited
    return np.clip(mixed * 32767, -32768, 32767).astype(np.int16)


def _between(cuts: list[tuple[int, int]], total: int) -> list[tuple[int, int]]:
    """(first, last) frames of the pieces around the cuts."""
    if not cuts:
        return [(0, total)]
    pieces = [(0, cuts[0][0])] if cuts[0][0] > 0 else []
    pieces += [(before[1], after[0]) for before, after in pairwise(cuts)]
    if cuts[-1][1] < total:
        pieces.append((cuts[-1][1], total))
    return pieces


def _quietest(rms: np.ndarray, first: int, last: int) -> int:
    """The first smallest of frames `first` to `last`, both included."""
    return first + int(np.argmin(rms[first : last + 1]))
