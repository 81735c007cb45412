"""Whether speech is right: faults put into tokens and found again, and words that recognizers miss in sentences.

The first part takes clean sentences of nano and puts one fault of each kind into their tokens. The second speaks
sentences with and without verification, and counts words that every recognizer (Whisper base, and any other
faster-whisper folder that is named) finds skipped or repeated; the third counts the same in recordings. Intervals are
those of a bootstrap, 95 %. Run by `scripts/bench right`.
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
from GPT_SoVITS.audio import read_resampled, resample
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
    parser.add_argument("--progress", type=Path, metavar="FILE", help="keeps sentences, so that a later call goes on")
    parser.add_argument("--recordings", type=Path, metavar="FILE", help="JSON lines of `file` and `text`")
    options = parser.parse_args(arguments)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
    pipeline = Pipeline.load(BASE / "gpt.safetensors", BASE / "sovits.safetensors")
    prompt = pipeline.prepare_prompt(REPOSITORY / "prompts" / "allison" / "prompt.wav", "", "en")
    document: dict[str, Any] = {}
    if options.faults:
        document["faults"] = injected_faults(pipeline, prompt, options.faults)
        print(json.dumps(document["faults"], indent=2), flush=True)
    if options.sentences or options.recordings:
        folders = [*options.recognizer, model_folder(options.models)]
        recognizers = [Transcriber(folder) for folder in folders]
        document["recognizers"] = [folder.name for folder in folders]
    if options.recordings:
        document["recordings"] = recorded_words(options.recordings, recognizers)
        print(json.dumps(document["recordings"], indent=2), flush=True)
    if options.sentences:
        document["sentences"] = recognized_words(
            pipeline, prompt, options.sentences, recognizers, options.progress or Path(os.devnull)
        )
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


def recorded_words(listing: Path, recognizers: Sequence[Transcriber]) -> dict[str, Any]:
    """Return the share of words that all recognizers miss in recordings of their texts."""
    wrong = []
    for line in listing.read_text(encoding="utf-8").splitlines():
        recording = json.loads(line)
        samples = read_resampled(listing.parent / recording["file"], RATE)
        wrong.append(_wrong_words(recognizers, samples, recording["text"]))
    return {"recordings": len(wrong), "wrong_words": _word_rate(wrong)}


def recognized_words(
    pipeline: Pipeline, prompt: EncodedPrompt, count: int, recognizers: Sequence[Transcriber], progress: Path
) -> dict[str, Any]:
    """Return the share of words that all recognizers miss, with and without verification, and what was corrected.

    `progress` keeps what was measured of each sentence.
    """
    engine = SpeechEngine(threads=1)
    lines = progress.read_text(encoding="utf-8").splitlines() if progress.is_file() else []
    measured: list[dict[str, Any]] = [json.loads(line) for line in lines][:count]
    for number, sentence in enumerate(plain_sentences(count)[len(measured) :], len(measured)):
        task = UtteranceTask(pipeline, SynthesisRequest(sentence, "en", prompt, number))
        plain = _speak(engine, task)
        verified = _speak(engine, UtteranceTask(pipeline, task.request, verification=VerificationSettings()))
        report = verified[1].verification
        assert report is not None
        off = _wrong_words(recognizers, _for_recognizers(plain[0]), sentence)
        same = np.array_equal(plain[0].samples, verified[0].samples)
        fast = off if same else _wrong_words(recognizers, _for_recognizers(verified[0]), sentence)
        measured.append({"off": off, "fast": fast, "attempts": report.attempts, "faults": len(report.faults)})
        with progress.open("a", encoding="utf-8") as file:
            file.write(json.dumps(measured[-1]) + "\n")
    engine.close()
    repeated = [sentence for sentence in measured if sentence["attempts"] > 1]
    return {
        "sentences": count,
        "wrong_words": {mode: _word_rate([sentence[mode] for sentence in measured]) for mode in ("off", "fast")},
        "spoken_again": len(repeated),
        "without_faults_then": sum(not sentence["faults"] for sentence in repeated),
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


def _for_recognizers(speech: Speech) -> np.ndarray:
    return resample(speech.samples, speech.sample_rate, RATE)


def _wrong_words(recognizers: Sequence[Transcriber], samples: np.ndarray, sentence: str) -> tuple[int, int]:
    """Return how many words all recognizers find skipped or repeated in samples (N,), and how many there are."""
    samples = np.pad(samples, PADDING)
    agreed: Counter[str] | None = None
    for recognizer in recognizers:
        comparison = compare(sentence, recognizer.transcribe(samples, "en").text, "en")
        errors = Counter((*comparison.skipped, *comparison.repeated))
        agreed = errors if agreed is None else agreed & errors
        if not agreed:
            break
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
