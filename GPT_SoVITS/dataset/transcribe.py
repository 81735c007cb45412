"""Transcribe recordings with faster-whisper, where its voice activity detector finds speech."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from GPT_SoVITS.audio import read_resampled
from GPT_SoVITS.errors import ModelError

SAMPLE_RATE = 16_000
"""Hz."""
MIN_SILENCE_MS = 700
LANGUAGES_WITHOUT_SPACES = ("zh", "ja", "yue")


@dataclass(frozen=True, slots=True)
class TranscriptPhrase:
    """A stretch that the recognizer transcribed at once."""

    text: str
    start: float
    """Seconds into the recording."""
    end: float
    average_log_probability: float
    no_speech_probability: float


@dataclass(frozen=True, slots=True)
class Transcription:
    """A recording in words."""

    text: str
    """Empty when nobody speaks."""
    language: str
    """The requested language, or the recognized one: `en`, `zh` …"""
    language_probability: float
    seconds: float
    """Length of the recording."""
    confidence: float
    """0 to 1: the exponential of the phrases' average log probability, weighted by their lengths."""
    phrases: tuple[TranscriptPhrase, ...] = ()


class Transcriber:
    """Any faster-whisper model folder; `features.whisper_model.model_folder` has one that needs no download."""

    def __init__(
        self, model_folder: Path | str, *, threads: int = 1, max_callers: int = 1, precision: str = "auto"
    ) -> None:
        """Load a model; raise ModelError `missing_part` where the folder has none.

        `max_callers`: how many callers on threads of their own are served at once, each by `threads` cores.
        `precision`: `float32`, `float16` (float32 where the processor has none), `int8` or `auto`, which is int8.
        """
        from ctranslate2 import get_supported_compute_types
        from faster_whisper import WhisperModel

        if not (Path(model_folder) / "model.bin").is_file():
            raise ModelError("missing_part", f"There is no faster-whisper model in {model_folder}.")
        compute_type = "int8" if precision == "auto" else precision
        if compute_type not in get_supported_compute_types("cpu"):
            compute_type = "float32"
        self._model: Any = WhisperModel(
            str(model_folder),
            device="cpu",
            compute_type=compute_type,
            cpu_threads=threads,
            num_workers=max_callers,
            local_files_only=True,
        )

    def transcribe(self, recording: Path | np.ndarray, language: str | None = None) -> Transcription:
        """Transcribe a file, or (N,) float32 samples at 16 kHz; without `language` it is recognized."""
        samples = read_resampled(recording, SAMPLE_RATE) if isinstance(recording, Path) else recording
        seconds = len(samples) / SAMPLE_RATE
        if not speech_spans(samples):  # the recognizer itself makes up words for noise
            return Transcription("", language or "", 0.0, seconds, 0.0)
        segments, info = self._model.transcribe(
            samples,
            language=language,
            beam_size=5,
            temperature=0.0,  # what it tries instead when unsure is sampled, and would differ from run to run
            condition_on_previous_text=False,
            vad_filter=True,
            vad_parameters={"min_silence_duration_ms": MIN_SILENCE_MS},
        )
        phrases = tuple(
            TranscriptPhrase(
                segment.text.strip(), segment.start, segment.end, segment.avg_logprob, segment.no_speech_prob
            )
            for segment in segments
        )
        seconds_spoken = sum(phrase.end - phrase.start for phrase in phrases)
        confidence = 0.0
        if seconds_spoken > 0:
            log_probability = sum(phrase.average_log_probability * (phrase.end - phrase.start) for phrase in phrases)
            confidence = min(1.0, math.exp(log_probability / seconds_spoken))
        separator = "" if info.language in LANGUAGES_WITHOUT_SPACES else " "
        text = separator.join(phrase.text for phrase in phrases if phrase.text)
        return Transcription(text, info.language, info.language_probability, seconds, confidence, phrases)

    def detect_language(self, samples: np.ndarray) -> tuple[str, float, dict[str, float]]:
        """Return the most likely language of (N,) float32 at 16 kHz, its probability, and those of all languages."""
        language, probability, probabilities = self._model.detect_language(samples)
        return language, float(probability), dict(probabilities)


def speech_spans(samples: np.ndarray) -> list[tuple[float, float]]:
    """Return (start, end) seconds of the speech in (N,) float32 at 16 kHz, by Silero's voice activity detector."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    spans = get_speech_timestamps(samples, VadOptions(min_silence_duration_ms=MIN_SILENCE_MS, speech_pad_ms=100))
    return [(span["start"] / SAMPLE_RATE, span["end"] / SAMPLE_RATE) for span in spans]
