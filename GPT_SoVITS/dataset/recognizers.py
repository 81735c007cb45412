"""The recognizer of a folder, whatever library reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from common.recognizers import recognizer_kind
from GPT_SoVITS.dataset.transcribe import Transcriber, Transcription


class Recognizer(Protocol):
    """Speech to text."""

    def transcribe(self, recording: Path | np.ndarray, language: str | None = None) -> Transcription:
        """Transcribe a file, or (N,) float32 samples at 16 kHz; without `language` it is recognized."""

    def detect_language(self, samples: np.ndarray) -> tuple[str, float, dict[str, float]]:
        """Return the most likely language of (N,) float32 at 16 kHz, its probability, and those of all languages."""


def load_recognizer(folder: Path, *, threads: int = 1, max_callers: int = 1, precision: str = "auto") -> Recognizer:
    """Load the recognizer of a folder; raise ModelError `missing_part` where there is none that can be read.

    `max_callers`: how many callers on threads of their own are served at once, each by `threads` cores. `precision` is
    for a Whisper; SenseVoice and Paraformer are quantized or not by their file.
    """
    if recognizer_kind(folder) in ("sensevoice", "paraformer"):
        from GPT_SoVITS.dataset.sherpa_recognizer import SherpaRecognizer

        return SherpaRecognizer(folder, threads=threads)
    return Transcriber(folder, threads=threads, max_callers=max_callers, precision=precision)
