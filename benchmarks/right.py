"""Whether speech is right: faults put into tokens and found again, and words that recognizers miss in sentences.

The first part takes clean sentences of nano and puts one fault of each kind into their tokens. The second speaks
sentences with and without verification, and counts words that every installed recognizer (Whisper base, and any other
faster-whisper folder that is named) finds skipped or repeated. Intervals are those of a bootstrap, 95 %.
Run by `scripts/bench right`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

import numpy as np
import torch

from benchmarks.plain_sentences import plain_sentences
from benchmarks.token_faults import KINDS, inject
from GPT_SoVITS.audio import resample
from GPT_SoVITS.dataset.transcribe import Transcriber
from GPT_SoVITS.dataset.word_errors import compare, words
from GPT_SoVITS.engine.speech_engine import SpeechEngine
from GPT_SoVITS.engine.utterance import UtteranceTask, UtteranceTotals
from GPT_SoVITS.engine.verification import VerificationSettings
from GPT_SoVITS.engine.warm_up import BASE
from GPT_SoVITS.features.whisper_model import model_folder
from GPT_SoVITS.gpt.generate import generate_batch
from GPT_SoVITS.pipeline import EncodedPrompt, Pipeline, Speech, SynthesisRequest
from GPT_SoVITS.synthesis.token_chunking import NANO_CHUNKS
from GPT_SoVITS.synthesis.verification.verifier import TokenVerifier

REPOSITORY: Final = Path(__file__).resolve().parent.parent
RESAMPLES: Final = 2000
RATE: Final = 16_000
PADDING: Final = RATE // 3


def main(arguments: list[str] | None = None) -> None:
    """Print both parts; `--json FILE` writes them."""
    parser = argparse.ArgumentParser(prog="scripts/bench right", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--faults", type=int, default=500, help="clean sentences that get a fault of each kind")
    parser.add_argument("--sentences", type=int, default=1000, help="sentences that recognizers hear; 0: none")
    parser.add_argument("--models", type=Path, default=Path.home() / ".cache" / "sovitsd", help="where Whisper is put")
    parser.add_argument("--recognizer", type=Path, action="append", default=[], help="another faster-whisper folder")
    options = parser.parse_args(arguments)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
    pipeline = Pipeline.load(BASE / "gpt.safetensors", BASE / "sovits.safetensors")
    prompt = pipeline.prepare_prompt(REPOSITORY / "prompts" / "allison" / "prompt.wav", "", "en")
    document: dict[str, Any] = {"faults": injected_faults(pipeline, prompt, options.faults)}
    print(json.dumps(document["faults"], indent=2), flush=True)
    if options.sentences:
        folders = [model_folder(options.models), *options.recognizer]
        document["sentences"] = recognized_words(pipeline, prompt, options.sentences, folders)
        print(json.dumps(document["sentences"], indent=2))
    if options.json:
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def injected_faults(pipeline: Pipeline, prompt: EncodedPrompt, count: int, seed: int = 3) -> dict[str, Any]:
    """Return how many faults of each kind a verifier finds, how many clean sentences it flags, and what it costs."""
    rng = random.Random(seed)
    flags: dict[str, list[bool]] = {kind: [] for kind in ("clean", *KINDS)}
    flags_of_streams: list[bool] = []
    synthesis_seconds = verification_seconds = 0.0
    spoken = []
    for number, sentence in enumerate(plain_sentences(count)):
        request = SynthesisRequest(sentence, "en", prompt, number)
        utterance = pipeline.conditioner.condition(request)
        started = time.process_time()
        pipeline.speak_batch([request])
        synthesis_seconds += time.process_time() - started
        row = generate_batch(pipeline.gpt, [utterance.gpt_input], [utterance.sampling], [request.noise])[0]
        tokens = row.tolist()
        spoken.append((pipeline.text_to_verify(utterance), tokens))
    for number, (text, tokens) in enumerate(spoken):
        other = spoken[number - 1][1]
        for kind in flags:
            faulty = list(tokens) if kind == "clean" else inject(kind, tokens, text, other, rng)
            if faulty is None:
                continue
            started = time.process_time()
            verifier = TokenVerifier(text, 0)
            verifier.add(faulty, finished=True)
            if kind == "clean":
                verification_seconds += time.process_time() - started
            flags[kind].append(bool(verifier.faults))
        streamed = TokenVerifier(text, NANO_CHUNKS.first)
        streamed.add(tokens, finished=True)
        flags_of_streams.append(bool(streamed.faults))
    detected = [flag for kind in KINDS for flag in flags[kind]]
    return {
        "sentences": count,
        "detected": _rate(detected),
        "by_kind": {kind: _rate(flags[kind]) for kind in KINDS},
        "clean_flagged": _rate(flags["clean"]),
        "clean_flagged_in_streams": _rate(flags_of_streams),
        "cost": verification_seconds / synthesis_seconds,
    }


def recognized_words(pipeline: Pipeline, prompt: EncodedPrompt, count: int, folders: Sequence[Path]) -> dict[str, Any]:
    """Return the share of words that all recognizers miss, with and without verification, and what was corrected."""
    recognizers = [Transcriber(folder) for folder in folders]
    engine = SpeechEngine(threads=1)
    wrong: dict[str, list[tuple[int, int]]] = {"off": [], "fast": []}
    corrected = Counter[str]()
    for number, sentence in enumerate(plain_sentences(count)):
        task = UtteranceTask(pipeline, SynthesisRequest(sentence, "en", prompt, number))
        plain = _speak(engine, task)
        verified = _speak(engine, UtteranceTask(pipeline, task.request, verification=VerificationSettings()))
        report = verified[1].verification
        assert report is not None
        corrected.update(attempts=report.attempts > 1, fixed=report.attempts > 1 and not report.faults)
        wrong["off"].append(_wrong_words(recognizers, plain[0], sentence))
        same = np.array_equal(plain[0].samples, verified[0].samples)
        wrong["fast"].append(wrong["off"][-1] if same else _wrong_words(recognizers, verified[0], sentence))
    engine.close()
    return {
        "sentences": count,
        "recognizers": [folder.name for folder in folders],
        "wrong_words": {mode: _word_rate(pairs) for mode, pairs in wrong.items()},
        "spoken_again": corrected["attempts"],
        "without_faults_then": corrected["fixed"],
    }


class _Waiter:
    """Waits for the end of an utterance."""

    def __init__(self) -> None:
        self.chunks: list[Speech] = []
        self.result: SimpleQueue[UtteranceTotals | Exception] = SimpleQueue()
        self.on_chunk: Callable[[Speech], None] = self.chunks.append
        self.on_end: Callable[[UtteranceTotals], None] = self.result.put
        self.on_error: Callable[[Exception], None] = self.result.put


def _speak(engine: SpeechEngine, task: UtteranceTask) -> tuple[Speech, UtteranceTotals]:
    waiter = _Waiter()
    engine.submit(task, waiter)
    totals = waiter.result.get()
    if isinstance(totals, Exception):
        raise totals
    return waiter.chunks[0], totals


def _wrong_words(recognizers: Sequence[Transcriber], speech: Speech, sentence: str) -> tuple[int, int]:
    """Return how many words all recognizers find skipped or repeated, and how many there are."""
    samples = np.pad(resample(speech.samples, speech.sample_rate, RATE), PADDING)
    agreed: Counter[str] | None = None
    for recognizer in recognizers:
        comparison = compare(sentence, recognizer.transcribe(samples, "en").text, "en")
        errors = Counter((*comparison.skipped, *comparison.repeated))
        agreed = errors if agreed is None else agreed & errors
    return sum((agreed or Counter()).values()), len(words(sentence, "en"))


def _rate(flags: Sequence[bool]) -> dict[str, float | list[float]]:
    return _interval(np.asarray(flags, dtype=float), np.ones(len(flags)))


def _word_rate(pairs: Sequence[tuple[int, int]]) -> dict[str, float | list[float]]:
    errors, counts = np.asarray(pairs, dtype=float).T
    return _interval(errors, counts)


def _interval(numerators: np.ndarray, denominators: np.ndarray) -> dict[str, float | list[float]]:
    """Return a ratio of sums with its bootstrap interval of 95 %, drawn by sentences."""
    if not len(numerators):
        return {"rate": float("nan"), "interval": []}
    drawn = np.random.default_rng(1).integers(0, len(numerators), (RESAMPLES, len(numerators)))
    rates = numerators[drawn].sum(axis=1) / denominators[drawn].sum(axis=1)
    rate = float(numerators.sum() / denominators.sum())
    return {"rate": rate, "interval": np.quantile(rates, (0.025, 0.975)).tolist()}


if __name__ == "__main__":
    main()
