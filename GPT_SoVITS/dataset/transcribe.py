"""What is said in a recording, by faster-whisper, where its voice detector hears somebody."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from GPT_SoVITS.audio import read_mono, resample
from GPT_SoVITS.errors import ModelError

SAMPLE_RATE = 16_000
MIN_SILENCE_MS = 700


@dataclass(frozen=True, slots=True)
class Phrase:
    """What the recogniser heard in one go."""

    text: str
    start: float
    """Seconds into the recording."""
    end: float
    average_log_probability: float
    no_speech_probability: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """A recording in words."""

    text: str
    """Empty when nobody speaks."""
    language: str
    """As asked for, or as heard: `en`, `zh` …"""
    language_probability: float
    seconds: float
    """Length of the recording."""
    confidence: float
    """0 to 1: how likely the recogniser found its words, on average."""
    phrases: tuple[Phrase, ...] = ()


class Transcriber:
    """Any faster-whisper model folder; `features.whisper_model.model_folder` has one that needs no download."""

    def __init__(
        self, model_folder: Path | str, *, threads: int = 1, side_by_side: int = 1, precision: str = "auto"
    ) -> None:
        """`side_by_side`: how many callers on threads of their own are served at once, each by `threads` cores.

        `precision`: `float32`, `float16` (float32 where the processor has none), `int8` or `auto`, which is int8.
        """
        from faster_whisper import WhisperModel

        if not (Path(model_folder) / "model.bin").is_file():
            raise ModelError("missing_part", f"There is no faster-whisper model in {model_folder}.")
        self.model = WhisperModel(
            str(model_folder),
            device="cpu",
            compute_type=_compute_type(precision),
            cpu_threads=threads,
            num_workers=side_by_side,
            local_files_only=True,
        )

    def transcribe(self, recording: Path | np.ndarray, language: str | None = None) -> Transcript:
        """A file, or (N,) float32 samples at 16 kHz. Without `language` it is recognised."""
        samples = _samples(recording) if isinstance(recording, Path) else recording
        seconds = len(samples) / SAMPLE_RATE
        speech = self._speech_seconds(samples)
        if speech == 0.0:
            return Transcript("", language or "", 0.0, seconds, 0.0)
        found, info = self.model.transcribe(
            samples,
            language=language,
            beam_size=5,
            temperature=0.0,  # what it tries instead when unsure is drawn by chance, and would differ from run to run
            condition_on_previous_text=False,
            vad_filter=True,
            vad_parameters={"min_silence_duration_ms": MIN_SILENCE_MS},
        )
        phrases = tuple(
            Phrase(one.text.strip(), one.start, one.end, one.avg_logprob, one.no_speech_prob) for one in found
        )
        text = _joined([phrase.text for phrase in phrases], info.language)
        return Transcript(text, info.language, info.language_probability, seconds, _confidence(phrases), phrases)

    def _speech_seconds(self, samples: np.ndarray) -> float:
        """How long somebody speaks; the recogniser itself makes up words for noise."""
        return sum(end - start for start, end in speech_spans(samples))


def _compute_type(precision: str) -> str:
    from ctranslate2 import get_supported_compute_types

    wanted = "int8" if precision == "auto" else precision
    return wanted if wanted in get_supported_compute_types("cpu") else "float32"


def speech_spans(samples: np.ndarray) -> list[tuple[float, float]]:
    """(start, end) seconds where somebody speaks in (N,) float32 at 16 kHz, by Silero's voice detector."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    spans = get_speech_timestamps(samples, VadOptions(min_silence_duration_ms=MIN_SILENCE_MS, speech_pad_ms=100))
    return [(span["start"] / SAMPLE_RATE, span["end"] / SAMPLE_RATE) for span in spans]


def _samples(path: Path) -> np.ndarray:
    samples, rate = read_mono(path)
    return resample(samples, rate, SAMPLE_RATE)


def _joined(texts: list[str], language: str) -> str:
    """Chinese and Japanese have no blanks between sentences."""
    return ("" if language in ("zh", "ja", "yue") else " ").join(text for text in texts if text)


def _confidence(phrases: tuple[Phrase, ...]) -> float:
    length = sum(phrase.end - phrase.start for phrase in phrases)
    if length <= 0:
        return 0.0
    mean = sum(phrase.average_log_probability * (phrase.end - phrase.start) for phrase in phrases) / length
    return min(1.0, math.exp(mean))
