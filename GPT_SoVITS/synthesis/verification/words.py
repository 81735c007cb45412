"""Words that a recognizer misses in an utterance, or hears twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.languages import single_language
from GPT_SoVITS.audio import resample
from GPT_SoVITS.dataset.word_errors import compare
from GPT_SoVITS.synthesis.verification.faults import Fault, FaultKind

if TYPE_CHECKING:
    from GPT_SoVITS.dataset.transcribe import Transcriber

RATE = 16_000
"""Hz, of what recognizers hear."""
PADDING_SECONDS = 0.3
"""Silence on both sides; a recognizer misses words that begin with the audio."""
RECOGNIZER_LANGUAGES = {"yue": "zh"}
"""Languages that the recognizer knows under another code."""


def word_faults(transcriber: Transcriber, samples: np.ndarray, rate: int, text: str, language: str) -> list[Fault]:
    """Return a fault of the whole utterance where words were skipped or repeated, as a recognizer hears it."""
    padded = np.pad(resample(samples, rate, RATE), round(PADDING_SECONDS * RATE))
    language = single_language(language)
    transcript = transcriber.transcribe(padded, RECOGNIZER_LANGUAGES.get(language, language) or None)
    comparison = compare(text, transcript.text, language or transcript.language or "en")
    if comparison.skipped or comparison.repeated:
        return [Fault(FaultKind.WRONG_WORDS, 0.0, len(samples) / rate)]
    return []
