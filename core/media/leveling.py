"""Speech at a loudness: silence trimmed at both ends, one gain for each voice, true peaks limited.

    samples ── SilenceTrimmer ── a gain for each voice ── PeakLimiter ──▶ samples

The gain of a whole text is known before its first sample; that of a stream is a running one, which follows what was
measured up to LOOK_AHEAD_SECONDS behind the samples that it is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from core.media.level_meter import SILENCE
from core.media.loudness import HOPS_OF_BLOCK, LoudnessMeter, is_audible
from core.media.peak_limiter import PeakLimiter

LOOK_AHEAD_SECONDS: Final = 0.4
"""How much audio a stream stays behind where it has a loudness: HOPS_OF_BLOCK hops."""
MAX_GAIN_DB: Final = 30.0
MAX_STEP_DB: Final = 0.5
"""By which a running gain changes within a tenth of a second, but in silence."""
TRIM_FRAME_SECONDS: Final = 0.01
KEPT_SECONDS: Final = 0.03
"""Silence that stays at each end."""
FULL_SCALE: Final = 32768.0


@dataclass(frozen=True, slots=True)
class LevelSettings:
    """What is done to the level of a speech, beside the loudness of each of its voices."""

    true_peak: float = -1.0
    """dBTP that a speech with a loudness does not exceed."""
    trim_silence: bool = False


class SilenceTrimmer:
    """Drops the silence before and after a stream; silence within it is delayed until something follows."""

    def __init__(self, sample_rate: int) -> None:
        self.dropped = 0
        """Samples that were dropped at the beginning."""
        self._frame = round(sample_rate * TRIM_FRAME_SECONDS)
        self._kept = round(sample_rate * KEPT_SECONDS)
        self._heard = False
        self._waiting = np.zeros(0)
        """Silence behind the last sample that could be heard,"""
        self._returned = 0
        """and how much of it was returned already."""
        self._partial = np.zeros(0)
        """The beginning of a frame."""

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """Return what may be heard now."""
        joined = np.concatenate([self._partial, samples])
        whole = len(joined) // self._frame * self._frame
        self._partial = joined[whole:]
        levels = np.sqrt(np.square(joined[:whole].reshape(-1, self._frame)).mean(axis=1))
        sounding = np.flatnonzero(levels >= SILENCE)
        waiting = np.concatenate([self._waiting, joined[:whole]])
        if not len(sounding):
            self._waiting = waiting
            if not self._heard and len(waiting) > self._kept:
                self.dropped += len(waiting) - self._kept
                self._waiting = waiting[-self._kept :]
            return waiting[:0]
        end = len(self._waiting) + (int(sounding[-1]) + 1) * self._frame
        begin = self._returned
        if not self._heard:
            begin = max(0, len(self._waiting) + int(sounding[0]) * self._frame - self._kept)
            self.dropped += begin
            self._heard = True
        self._waiting, self._returned = waiting[end:], 0
        return waiting[begin:end]

    def end_utterance(self) -> np.ndarray:
        """Return the silence that stays behind the last words, whatever follows."""
        self._waiting = np.concatenate([self._waiting, self._partial])
        self._partial = self._partial[:0]
        if not self._heard or self._returned:
            return self._waiting[:0]
        self._returned = min(len(self._waiting), self._kept)
        return self._waiting[: self._returned]


class RunningGain:
    """The gain of one voice, from what was heard of it so far; it survives the ends of utterances."""

    def __init__(self, sample_rate: int, loudness: float, *, whole_utterances: bool) -> None:
        """`loudness`: LUFS; `whole_utterances`: whether nobody waits for the samples before an utterance ends."""
        self._meter = LoudnessMeter(sample_rate)
        self._loudness = loudness
        self._whole = whole_utterances
        self._buffer = np.zeros(0)
        self._hops = 0
        """Those that were returned."""
        self._gain_db: float | None = None
        """At the end of what was returned; None before anything could be heard."""

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """Return the samples whose gain is certain, at that gain."""
        self._meter.add(samples)
        self._buffer = np.concatenate([self._buffer, samples])
        ready = 0 if self._whole else max(0, self._meter.hops - HOPS_OF_BLOCK - self._hops)
        return self._take([self._meter.hop] * ready)

    def end_utterance(self) -> np.ndarray:
        """Return the rest: what follows is a while away."""
        self._meter.end_hop()
        whole, rest = divmod(len(self._buffer), self._meter.hop)
        return self._take([self._meter.hop] * whole + ([rest] if rest else []))

    def _take(self, lengths: list[int]) -> np.ndarray:
        pieces = [np.zeros(0)]
        start = 0
        for length in lengths:
            measured = self._meter.hops if self._whole else min(self._hops + HOPS_OF_BLOCK + 1, self._meter.hops)
            before, after = self._next_gains(self._meter.integrated(measured))
            ramp = np.linspace(before, after, length, endpoint=False)
            pieces.append(self._buffer[start : start + length] * 10 ** (ramp / 20))
            start += length
            self._hops += 1
        self._buffer = self._buffer[start:]
        return np.concatenate(pieces)

    def _next_gains(self, measured: float | None) -> tuple[float, float]:
        """Return the gains in dB at the beginning and the end of the next hop."""
        if measured is None:
            return 0.0, 0.0
        desired = gain_to(self._loudness, measured)
        if self._gain_db is None or self._whole or not is_audible(self._meter.power(self._hops)):
            self._gain_db = desired
            return desired, desired
        before = self._gain_db
        self._gain_db = before + min(max(desired - before, -MAX_STEP_DB), MAX_STEP_DB)
        return before, self._gain_db


class SpeechLeveler:
    """Brings one speech, of several voices maybe, to its loudness."""

    def __init__(
        self,
        sample_rate: int,
        settings: LevelSettings,
        *,
        whole_utterances: bool = False,
        gains: Mapping[str, float] | None = None,
    ) -> None:
        """Begin a speech.

        Args:
            sample_rate: Hz.
            settings: True peak and silences.
            whole_utterances: Whether nobody waits for samples before an utterance ends.
            gains: Voice → its gain in dB, where that is known before; all others have a running one.
        """
        self.sample_rate = sample_rate
        self.whole_utterances = whole_utterances
        self.gains = gains or {}
        self._running: dict[str, RunningGain] = {}
        self._limiter = PeakLimiter(sample_rate, settings.true_peak)
        self._trimmer = SilenceTrimmer(sample_rate) if settings.trim_silence else None

    @property
    def trimmed_seconds(self) -> float:
        """Silence that was dropped at the beginning."""
        return 0.0 if self._trimmer is None else self._trimmer.dropped / self.sample_rate

    def feed(self, samples: bytes, voice: str, loudness: float | None) -> bytes:
        """Return what can be heard now of a voice's samples; `loudness` in LUFS, None leaves it as it is."""
        values = samples_of(samples)
        if self._trimmer is not None:
            values = self._trimmer.feed(values)
        return _to_bytes(self._level(values, voice, loudness))

    def end_utterance(self, voice: str, loudness: float | None) -> bytes:
        """Return the rest of an utterance, but for silence that may be the last."""
        rest = np.zeros(0) if self._trimmer is None else self._trimmer.end_utterance()
        rest = self._level(rest, voice, loudness)
        if loudness is None:
            return _to_bytes(rest)
        if voice in self._running:
            rest = np.concatenate([rest, self._limiter.feed(self._running[voice].end_utterance())])
        return _to_bytes(np.concatenate([rest, self._limiter.flush()]))

    def _level(self, samples: np.ndarray, voice: str, loudness: float | None) -> np.ndarray:
        if loudness is None:
            return samples
        if voice in self.gains:
            return self._limiter.feed(samples * 10 ** (self.gains[voice] / 20))
        if voice not in self._running:
            self._running[voice] = RunningGain(self.sample_rate, loudness, whole_utterances=self.whole_utterances)
        return self._limiter.feed(self._running[voice].feed(samples))


def samples_of(pcm: bytes) -> np.ndarray:
    """Return 16-bit samples as (N,) within ±1."""
    return np.frombuffer(pcm, "<i2") / FULL_SCALE


def gain_to(loudness: float, measured: float) -> float:
    """Return the gain in dB that brings what was measured to a loudness, both in LUFS, as far as that is sensible."""
    return min(loudness - measured, MAX_GAIN_DB)


def _to_bytes(samples: np.ndarray) -> bytes:
    return np.clip(np.rint(samples * FULL_SCALE), -32768, 32767).astype("<i2").tobytes()
