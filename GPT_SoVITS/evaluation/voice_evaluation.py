"""Make a voice speak sentences and evaluate the recordings."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from GPT_SoVITS.audio import resample, write_wav
from GPT_SoVITS.dataset.word_errors import words
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.evaluation.evaluator import SAMPLE_RATE, Evaluator
from GPT_SoVITS.pipeline import EncodedPrompt, Pipeline
from GPT_SoVITS.synthesis.verification.faults import FaultKind
from GPT_SoVITS.synthesis.verification.samples import sample_faults

MEAN_SCORES = ("wer", "cer", "similarity", "dnsmos", "rtf", "f0_low", "f0_high")
MEAN_COUNTS = ("repeated", "skipped")
"""Lists of words whose mean lengths are reported."""


@dataclass(frozen=True, slots=True)
class SentenceResult:
    """The scores of a sentence; None where nothing can be said. `RecordingEvaluation` explains them."""

    text: str
    transcript: str
    wer: float
    cer: float
    similarity: float | None = None
    dnsmos: float | None = None
    rtf: float | None = None
    """Seconds of synthesis for a second of speech."""
    f0_low: float | None = None
    f0_high: float | None = None
    repeated: Sequence[str] = ()
    skipped: Sequence[str] = ()
    seconds: float = 0.0
    verdict: str = "doubtful"
    """`ok`, or `doubtful` where the recording has faults."""
    faults: Sequence[str] = ()
    """Their kinds."""

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON, in which the transcript is `heard`."""
        names = (field.name for field in fields(self))
        return {"heard" if name == "transcript" else name: getattr(self, name) for name in names}


class VoiceEvaluator:
    """Evaluates voices by the same sentences; each sentence has its own seed, so that a second run says the same."""

    def __init__(self, evaluator: Evaluator, *, language: str, seed: int = 1234) -> None:
        """Evaluate sentences of a language code."""
        self.evaluator = evaluator
        self.language = language
        self.seed = seed
        self._recognizer_language = language.removeprefix("all_").removesuffix("_yue")

    def run(
        self, pipeline: Pipeline, prompt: EncodedPrompt, sentences: Sequence[str], sample: Path | None = None
    ) -> Iterator[SentenceResult]:
        """Yield the result of each sentence as it is evaluated; write the first one's audio to `sample`."""
        for number, text in enumerate(sentences):
            started = time.perf_counter()
            try:
                speech = pipeline.speak(text, self.language, prompt, seed=self.seed + number)
            except ModelError as error:
                if error.code != "nothing_spoken":
                    raise
                # The model ended before the first sound: all words are missing, and there is nothing else to evaluate.
                missing = words(text, self._recognizer_language)
                yield SentenceResult(text, transcript="", wer=1.0, cer=1.0, skipped=missing)
                continue
            elapsed = time.perf_counter() - started
            if sample is not None and number == 0:
                write_wav(sample, speech.samples, speech.sample_rate)
            samples = resample(speech.samples, speech.sample_rate, SAMPLE_RATE)
            scores = self.evaluator.evaluate(samples, text, self._recognizer_language)
            seconds = len(speech.samples) / speech.sample_rate
            faults = [fault.kind.value for fault in sample_faults(speech.samples, speech.sample_rate)]
            faults += [FaultKind.WRONG_WORDS.value] if scores.skipped or scores.repeated else []
            yield SentenceResult(
                text=text,
                transcript=scores.transcript,
                wer=scores.wer,
                cer=scores.cer,
                similarity=_none_for_nan(scores.similarity),
                dnsmos=_none_for_nan(scores.dnsmos),
                rtf=elapsed / seconds,
                f0_low=_none_for_nan(scores.f0_low),
                f0_high=_none_for_nan(scores.f0_high),
                repeated=scores.repeated,
                skipped=scores.skipped,
                seconds=seconds,
                verdict="doubtful" if faults else "ok",
                faults=faults,
            )


def mean_scores(results: Sequence[SentenceResult]) -> dict[str, float | None]:
    """Return the mean of each score over the sentences that have it, and of how many words went wrong a sentence."""
    means: dict[str, float | None] = {}
    for name in MEAN_SCORES:
        values = [value for result in results if (value := getattr(result, name)) is not None]
        means[name] = sum(values) / len(values) if values else None
    for name in MEAN_COUNTS:
        means[name] = sum(len(getattr(result, name)) for result in results) / len(results) if results else None
    return means


def _none_for_nan(value: float) -> float | None:
    """Return None for NaN, which JSON lacks."""
    return None if math.isnan(value) else value
