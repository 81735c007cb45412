"""A voice's weights, made to speak sentences and judged by what came out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from GPT_SoVITS.audio import resample, write_wav
from GPT_SoVITS.dataset.word_errors import words
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.evaluation.evaluator import SAMPLE_RATE, Evaluator
from GPT_SoVITS.pipeline import EncodedPrompt, Pipeline

MEASURES = ("wer", "cer", "similarity", "dnsmos", "rtf", "f0_low", "f0_high")
"""Numbers of a sentence whose means are told."""
COUNTED = ("repeated", "skipped")
"""Lists of words whose mean lengths are told."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Whose voice it is."""

    audio: Path
    text: str
    language: str
    tokens: list[int] | None = None
    """Of the recording, where they are known."""


class VoiceTest:
    """Speaks and judges; every sentence has a seed of its own, so that a second test says the same."""

    def __init__(self, evaluator: Evaluator, *, language: str, seed: int = 1234) -> None:
        self.evaluator = evaluator
        self.language = language
        """Of the sentences."""
        self.seed = seed

    def run(
        self, pipeline: Pipeline, prompt: EncodedPrompt, sentences: Sequence[str], sample: Path | None = None
    ) -> Iterator[dict[str, Any]]:
        """A row a sentence, as it is judged; the first one's sound goes to `sample`."""
        for number, text in enumerate(sentences):
            try:
                started = time.perf_counter()
                speech = pipeline.speak(text, self.language, prompt, seed=self.seed + number)
                took = time.perf_counter() - started
            except ModelError as error:
                if error.code != "nothing_spoken":
                    raise
                yield self._unspoken(text)
                continue
            if sample is not None and number == 0:
                write_wav(sample, speech.samples, speech.sample_rate)
            yield self._row(text, speech.samples, speech.sample_rate, took)

    def _row(self, text: str, samples: np.ndarray, rate: int, took: float) -> dict[str, Any]:
        judged = self.evaluator.judge_samples(resample(samples, rate, SAMPLE_RATE), text, self._heard_as)
        seconds = len(samples) / rate
        return {
            "text": text,
            "heard": judged.heard,
            "wer": judged.wer,
            "cer": judged.cer,
            "similarity": _known(judged.similarity),
            "dnsmos": _known(judged.dnsmos),
            "rtf": took / seconds,
            "f0_low": _known(judged.f0_low),
            "f0_high": _known(judged.f0_high),
            "repeated": list(judged.repeated),
            "skipped": list(judged.skipped),
            "seconds": seconds,
        }

    def _unspoken(self, text: str) -> dict[str, Any]:
        """The model ended before the first sound: all words are missing, and there is nothing else to judge."""
        nothing = dict.fromkeys(("similarity", "dnsmos", "rtf", "f0_low", "f0_high"))
        missing = words(text, self._heard_as)
        return {"text": text, "heard": "", "wer": 1.0, "cer": 1.0, **nothing, "repeated": [], "skipped": missing} | {
            "seconds": 0.0
        }

    @property
    def _heard_as(self) -> str:
        return self.language.removeprefix("all_").removesuffix("_yue")


def means(rows: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """The mean of each number over the sentences that have it, and of how many words went wrong a sentence."""
    shown: dict[str, float | None] = {}
    for name in MEASURES:
        values = [row[name] for row in rows if row[name] is not None]
        shown[name] = sum(values) / len(values) if values else None
    for name in COUNTED:
        shown[name] = sum(len(row[name]) for row in rows) / len(rows) if rows else None
    return shown


def _known(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else value
