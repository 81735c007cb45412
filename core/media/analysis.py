"""What a recording is like before anything is trained on it: level, clipping, noise, and how much of it is audible."""

from __future__ import annotations

import math
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RecordingProblem = Literal["clipped", "too_quiet", "noisy", "little_speech", "short", "low_rate"]

FRAME_SECONDS: Final = 0.05
SPEECH_ABOVE_NOISE_DB: Final = 9.0
"""A frame that much louder than the noise counts as audible speech."""
SILENCE_DB: Final = -90.0
"""The level of digital silence."""
CLIPPING_RUN: Final = 3
"""So many samples in a row at the highest level are clipped."""
MAX_CLIPPED_SHARE: Final = 0.0001
MIN_PEAK_DB: Final = -25.0
MIN_SIGNAL_TO_NOISE_DB: Final = 20.0
MIN_SPEECH_SHARE: Final = 0.35
MIN_TRAINING_SECONDS: Final = 45.0
MIN_SAMPLE_RATE: Final = 16_000
_BLOCK: Final = 1 << 20
"""Samples that are measured at once: a recording of two hours would need gigabytes otherwise."""


@dataclass(frozen=True, slots=True)
class RecordingAnalysis:
    """Measurements of a recording; levels in dB of full scale."""

    duration_seconds: float
    speech_seconds: float
    peak_db: float
    speech_db: float
    """Level of the loud tenth of the frames."""
    noise_db: float
    """Level of the quiet tenth of the frames."""
    clipped_share: float
    """Share of the samples in runs at the highest level."""
    problems: tuple[RecordingProblem, ...]

    @property
    def signal_to_noise_db(self) -> float:
        """How much louder the speech is than what is heard between its words."""
        return self.speech_db - self.noise_db


def analyze_wav(path: Path, *, original_rate: int) -> RecordingAnalysis:
    """Measure a mono WAV of 16 bit; `original_rate` is that of the file it was decoded from."""
    import numpy as np  # not with the process, which serves without it

    with wave.open(str(path), "rb") as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    return analyze(samples, rate, original_rate=original_rate)


def analyze(samples: NDArray[np.int16], rate: int, *, original_rate: int) -> RecordingAnalysis:
    """Measure mono samples (T,). Digital silence, such as that of a gate, does not count as the noise of the room."""
    import numpy as np

    levels = _frame_levels(samples, max(1, round(FRAME_SECONDS * rate)))
    sounding = levels[levels > SILENCE_DB]
    noise, speech = (np.quantile(sounding, (0.1, 0.9)).tolist()) if len(sounding) else (SILENCE_DB, SILENCE_DB)
    audible = int((levels > max(noise + SPEECH_ABOVE_NOISE_DB, -55.0)).sum())
    seconds = len(samples) / rate
    peak = max(int(samples.max(initial=0)), -int(samples.min(initial=0)))
    speech_seconds = min(seconds, audible * FRAME_SECONDS)
    clipped = _clipped_share(samples, peak)
    findings: dict[RecordingProblem, bool] = {
        "clipped": clipped > MAX_CLIPPED_SHARE,
        "too_quiet": 20 * math.log10(max(peak, 1) / 32768) < MIN_PEAK_DB,
        "noisy": speech - noise < MIN_SIGNAL_TO_NOISE_DB,
        "little_speech": seconds > 0 and speech_seconds / seconds < MIN_SPEECH_SHARE,
        "short": seconds < MIN_TRAINING_SECONDS,
        "low_rate": original_rate < MIN_SAMPLE_RATE,
    }
    return RecordingAnalysis(
        duration_seconds=round(seconds, 3),
        speech_seconds=round(speech_seconds, 3),
        peak_db=round(20 * math.log10(max(peak, 1) / 32768), 1),
        speech_db=round(speech, 1),
        noise_db=round(noise, 1),
        clipped_share=round(clipped, 6),
        problems=tuple(name for name, applies in findings.items() if applies),
    )


def _frame_levels(samples: NDArray[np.int16], frame_length: int) -> NDArray[np.float64]:
    """Return the level of each whole frame in dB of full scale."""
    import numpy as np

    whole = len(samples) // frame_length * frame_length
    frames = samples[:whole].reshape(-1, frame_length)
    step = max(1, _BLOCK // frame_length)
    amplitudes = np.empty(len(frames))
    for start in range(0, len(frames), step):
        amplitudes[start : start + step] = (frames[start : start + step].astype(np.float32) / 32768).std(axis=1)
    levels: NDArray[np.float64] = np.maximum(20 * np.log10(np.maximum(amplitudes, 1e-9)), SILENCE_DB)
    return levels


def _clipped_share(samples: NDArray[np.int16], peak: int) -> float:
    """Return the share of samples that stay at the recording's highest level, if that is near full scale."""
    import numpy as np

    if peak < 0.5 * 32768 or not len(samples):
        return 0.0
    clipped, reach = 0, CLIPPING_RUN - 1
    for start in range(0, len(samples), _BLOCK):
        first = max(0, start - reach)
        window = samples[first : start + _BLOCK + reach]
        at_limit = (window >= peak - 1) | (window <= 1 - peak)
        shifted = [at_limit[offset : len(window) - reach + offset] for offset in range(CLIPPING_RUN)]
        run_begins = np.logical_and.reduce(shifted)
        in_run = np.zeros(len(window), bool)
        for offset in range(CLIPPING_RUN):
            in_run[offset : offset + len(run_begins)] |= run_begins
        clipped += int(in_run[start - first : start - first + _BLOCK].sum())
    return clipped / len(samples)
