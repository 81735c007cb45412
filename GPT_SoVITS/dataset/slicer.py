"""Cut a recording at its silences (docs/spec/s2-sovits.md §23), and what has none at its quietest points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np

from GPT_SoVITS.audio import frame_rms, write_wav
from GPT_SoVITS.dataset.loudness import mix_loudness

MAX_SEGMENT_SECONDS = 12.0
"""A segment without pauses is cut again above this; recognition and training work best on single phrases."""
MIN_SEGMENT_SECONDS = 0.6
"""Training takes nothing shorter (§14)."""
MIN_REMAINDER_SECONDS = 2.0
"""What a cut without a pause leaves over is at least this long."""
QUIET_WINDOW_SECONDS = 0.12
"""The gap between two words, over which the quietest point is searched."""


@dataclass(frozen=True, slots=True)
class SliceSettings:
    """Where to cut; names and defaults of the stage `audio_slice`. Times are in milliseconds but where stated."""

    threshold: float = -34.0
    """dB of full scale; a quieter frame is silent."""
    min_length: float = 4000
    """Of a segment."""
    min_interval: float = 300
    """Of a silence to cut at."""
    hop_size: float = 10
    """Of a frame."""
    max_sil_kept: float = 500
    """Of silence at either end of a segment."""
    max_seconds: float | None = MAX_SEGMENT_SECONDS
    """Of a segment, in seconds; a longer one is cut at its quietest points. None: never."""

    def __post_init__(self) -> None:
        if not self.min_length >= self.min_interval >= self.hop_size:
            raise ValueError("min_length >= min_interval >= hop_size must hold")
        if self.max_sil_kept < self.hop_size:
            raise ValueError("max_sil_kept >= hop_size must hold")

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, float]) -> SliceSettings:
        """Return the settings with those of a stage's parameters that are named like a setting."""
        return cls(**{field.name: parameters[field.name] for field in fields(cls) if field.name in parameters})


@dataclass(frozen=True, slots=True)
class AudioSlice:
    """A segment cut from a recording."""

    samples: np.ndarray
    """(N,) or (channels, N)."""
    start: int
    """First sample in the recording."""
    end: int
    """The sample after the last one, as the file name has it; may lie a little beyond the recording."""


class Slicer:
    """Cuts recordings of one sample rate."""

    def __init__(self, sample_rate: int, settings: SliceSettings | None = None) -> None:
        settings = settings or SliceSettings()
        interval = sample_rate * settings.min_interval / 1000
        self.sample_rate = sample_rate
        self.max_seconds = settings.max_seconds
        self.threshold = 10 ** (settings.threshold / 20.0)
        self.hop = round(sample_rate * settings.hop_size / 1000)
        self.window = min(round(interval), 4 * self.hop)
        # In frames of `hop` samples:
        self.min_length = round(sample_rate * settings.min_length / 1000 / self.hop)
        self.min_interval = round(interval / self.hop)
        self.max_sil_kept = round(sample_rate * settings.max_sil_kept / 1000 / self.hop)

    def slice(self, samples: np.ndarray) -> list[AudioSlice]:
        """Return the segments of (N,) or (channels, N) in order; none when all of it is silent."""
        count = samples.shape[-1]
        mono = samples if samples.ndim == 1 else samples.mean(axis=0)
        if count <= self.min_length:  # a number of frames: hardly ever true
            return [AudioSlice(samples, 0, count)]
        rms = frame_rms(mono, self.hop, self.window)
        cuts = self.cuts(rms)
        borders = [(0, cuts[0][0])] if cuts and cuts[0][0] > 0 else []
        borders += [(before[1], after[0]) for before, after in pairwise(cuts)]
        if not cuts or cuts[-1][1] < len(rms):
            borders.append((cuts[-1][1] if cuts else 0, len(rms)))
        segments = [
            AudioSlice(samples[..., first * self.hop : min(count, last * self.hop)], first * self.hop, last * self.hop)
            for first, last in borders
        ]
        if self.max_seconds is None:
            return segments
        return [part for segment in segments for part in split_long(segment, self.sample_rate, self.max_seconds)]

    def cuts(self, rms: np.ndarray) -> list[tuple[int, int]]:
        """Return (first, last) frames to leave out, of (frames,) RMS; equal ends leave out nothing and only cut."""
        cuts: list[tuple[int, int]] = []
        silence_start: int | None = None
        segment_start = 0
        for frame, level in enumerate(rms):
            if level < self.threshold:
                silence_start = frame if silence_start is None else silence_start
                continue
            if silence_start is None:
                continue
            leading = silence_start == 0 and frame > self.max_sil_kept
            middle = frame - silence_start >= self.min_interval and frame - segment_start >= self.min_length
            if leading or middle:
                cut = self._cut_silence(rms, silence_start, frame)
                cuts.append(cut)
                segment_start = cut[1]
            silence_start = None
        total = len(rms)
        if silence_start is not None and total - silence_start >= self.min_interval:
            end = min(total, silence_start + self.max_sil_kept)
            cuts.append((_quietest(rms, silence_start, end), total + 1))
        return cuts

    def _cut_silence(self, rms: np.ndarray, start: int, end: int) -> tuple[int, int]:
        """Return what to leave out of a silence from frame `start` to just before `end`."""
        kept = self.max_sil_kept
        if end - start <= kept:
            quietest = _quietest(rms, start, end)
            return (0, quietest) if start == 0 else (quietest, quietest)
        left = _quietest(rms, start, start + kept)
        right = _quietest(rms, end - kept, end)
        if start == 0:
            return 0, right
        if end - start <= 2 * kept:
            quietest = _quietest(rms, end - kept, start + kept)
            return min(left, quietest), max(right, quietest)
        return left, right


def _quietest(rms: np.ndarray, first: int, last: int) -> int:
    """Return the first smallest of frames `first` to `last`, both included."""
    return first + int(np.argmin(rms[first : last + 1]))


def split_long(segment: AudioSlice, sample_rate: int, max_seconds: float) -> list[AudioSlice]:
    """Return parts of at most `max_seconds`, cut where the segment is quietest; a short one stays as it is."""
    longest, shortest = round(max_seconds * sample_rate), round(MIN_REMAINDER_SECONDS * sample_rate)
    hop = max(1, sample_rate // 100)
    samples, start, parts = segment.samples, segment.start, []
    while samples.shape[-1] > longest:
        mono = samples if samples.ndim == 1 else samples.mean(axis=0)
        rms = frame_rms(mono[:longest], hop, round(QUIET_WINDOW_SECONDS * sample_rate))
        first = longest // 2 // hop
        last = min(longest, samples.shape[-1] - shortest) // hop
        cut = (first + int(np.argmin(rms[first : max(first + 1, last)]))) * hop
        parts.append(AudioSlice(samples[..., :cut], start, start + cut))
        samples, start = samples[..., cut:], start + cut
    return [*parts, AudioSlice(samples, start, segment.end)]


def write_segments(
    segments: Sequence[AudioSlice], folder: Path, sample_rate: int, *, name: str, peak: float = 0.9, mix: float = 0.25
) -> tuple[list[str], list[dict[str, str]]]:
    """Write each segment as `<name>_<start>_<end>.wav`; return the file names, and `segment` and `reason` of the rest.

    `peak` and `mix` are those of `mix_loudness`.
    """
    written, left_out = [], []
    for segment in segments:
        file_name = f"{name}_{segment.start:010d}_{segment.end:010d}.wav"
        seconds = segment.samples.shape[-1] / sample_rate
        if seconds < MIN_SEGMENT_SECONDS:
            left_out.append({"segment": file_name, "reason": f"{seconds:.2f} s are too short"})
        elif not np.any(segment.samples):
            left_out.append({"segment": file_name, "reason": "it is silent"})
        else:
            write_wav(folder / file_name, mix_loudness(segment.samples, peak, mix), sample_rate)
            written.append(file_name)
    return written, left_out
