"""How exact word timestamps are, and what they cost.

Onsets and ends of words that are spoken between pauses are found in the audio by its level, and borders of s and sh to
vowels by their spectrum; they are compared with what is reported, whole and in chunks, at three speeds. Words are also
cut out of speech and spliced without a gap: the alignment has to find the borders in the tokens of the spliced
recording. Run by `scripts/bench times`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch

from benchmarks.report import Row, report
from GPT_SoVITS import evaluation
from GPT_SoVITS.engine.warm_up import BASE, neutral_prompt
from GPT_SoVITS.pipeline import Pipeline, SynthesisRequest
from GPT_SoVITS.synthesis.word_timing import SpokenWord, WordTimer
from GPT_SoVITS.text import phonemize, written_words

NUMBERS: Final = "seven four nine six ten twenty thirty fifty eighty five".split()  # noqa: SIM905
LISTS: Final = 12
WORDS_IN_LIST: Final = 5
SPEEDS: Final = (1.0, 0.8, 1.3)
MEDIAN_GOAL_MS, P95_GOAL_MS = 20.0, 60.0
COST_GOAL: Final = 0.02
FLOOR: Final = 0.01
"""Of a word's peak: what is quieter is silence."""
WINDOW_SECONDS: Final = 0.005
SENTENCES: Final = 20
SIBILANT_HERTZ, SIBILANT_SHARE = 4000, 0.4
"""A window with so much of its energy above so many hertz is one of s or sh."""


def main(arguments: list[str] | None = None) -> None:
    """Print the table; `--json FILE` writes it."""
    parser = argparse.ArgumentParser(prog="scripts/bench times", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--models", type=Path, default=Path("models"), help="where Whisper is put together")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    pipeline = Pipeline.load(BASE / "gpt.safetensors", BASE / "sovits.safetensors")
    rows: list[Row] = []
    measured = {
        **pause_errors(pipeline),
        "borders of s and sh": fricative_errors(pipeline),
        "spliced words": spliced_errors(pipeline, options.models),
    }
    for title, errors in measured.items():
        milliseconds = np.abs(np.array(errors)) * 1000
        rows.append(_row(f"{title}: median error of {len(errors)}", float(np.median(milliseconds)), MEDIAN_GOAL_MS))
        rows.append(_row(f"{title}: p95", float(np.percentile(milliseconds, 95)), P95_GOAL_MS))
    rows.append(cost(pipeline))
    report("times", rows, options.json)


def pause_errors(pipeline: Pipeline) -> dict[str, list[float]]:
    """Return the errors in seconds of starts and ends that can be heard: of words between pauses."""
    errors: dict[str, list[float]] = {"beside pauses": [], "the same in chunks": []}
    prompt = neutral_prompt(pipeline)
    for number, text in enumerate(_lists()):
        request = SynthesisRequest(text, "en", prompt, number, SPEEDS[number % len(SPEEDS)])
        (whole,) = pipeline.speak_batch([request])
        errors["beside pauses"] += _heard(whole.samples, whole.sample_rate, whole.words)
        chunks = list(pipeline.stream(request))
        samples = np.concatenate([chunk.samples for chunk in chunks])
        words = [word for chunk in chunks for word in chunk.words]
        errors["the same in chunks"] += _heard(samples, whole.sample_rate, words)
    return errors


def fricative_errors(pipeline: Pipeline) -> list[float]:
    """Return the errors in seconds of the borders between s or sh and vowels, inside words and between them."""
    path = Path(evaluation.__file__).parent / "sentences" / "en.txt"
    errors: list[float] = []
    for seed, text in enumerate(path.read_text(encoding="utf-8").splitlines()[:SENTENCES]):
        (speech,) = pipeline.speak_batch([SynthesisRequest(text, "en", neutral_prompt(pipeline), seed)])
        sibilant = _sibilant_windows(speech.samples, speech.sample_rate)
        phonemes = [phoneme for word in speech.words for phoneme in word.phonemes]
        for before, own, after in zip(phonemes, phonemes[1:], phonemes[2:], strict=False):
            if own.phoneme not in ("S", "SH"):
                continue
            first, middle, last = (
                round(seconds / WINDOW_SECONDS)
                for seconds in (own.start - 0.08, (own.start + own.end) / 2, own.end + 0.08)
            )
            voiced_before = first + np.flatnonzero(~sibilant[first:middle])
            voiced_after = middle + np.flatnonzero(~sibilant[middle:last])
            if before.phoneme[-1].isdigit() and before.end == own.start and len(voiced_before):
                errors.append(own.start - (voiced_before[-1] + 1) * WINDOW_SECONDS)
            if after.phoneme[-1].isdigit() and after.start == own.end and len(voiced_after):
                errors.append(own.end - voiced_after[0] * WINDOW_SECONDS)
    return errors


def _sibilant_windows(samples: np.ndarray, rate: int) -> np.ndarray:
    """Return whether s or sh is heard in each window, by a spectrum of 20 ms around its middle."""
    size, hop = rate // 50, round(WINDOW_SECONDS * rate)
    padded = np.pad(samples, (size - hop) // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * np.hanning(size)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    high = power[:, np.fft.rfftfreq(size, 1 / rate) > SIBILANT_HERTZ].sum(axis=1)
    sibilant: np.ndarray = high > SIBILANT_SHARE * power.sum(axis=1)
    return sibilant


def spliced_errors(pipeline: Pipeline, models: Path) -> list[float]:
    """Return the errors in seconds of the borders that the alignment finds between words that were spliced."""
    from GPT_SoVITS.features.whisper_content import ContentEncoder
    from GPT_SoVITS.features.whisper_model import model_folder
    from GPT_SoVITS.synthesis.waveform_decoder import WaveformDecoder

    decoder = pipeline.decoder
    assert isinstance(decoder, WaveformDecoder)
    encoder = ContentEncoder(model_folder(models))
    clips = {word: _clip(pipeline, word) for word in NUMBERS}
    errors: list[float] = []
    for text in _lists():
        pieces: list[np.ndarray] = []
        borders: list[tuple[float, float]] = []
        words = text.lower().rstrip(".").split(", ")
        for word in words:
            start = sum(map(len, pieces)) / pipeline.sample_rate
            borders.append((start, start + len(clips[word]) / pipeline.sample_rate))
            pieces.append(clips[word])
        features = torch.from_numpy(encoder.encode(np.concatenate(pieces)))
        codes = decoder.encode_content(features.T[None] if features.shape[0] != 512 else features[None])
        phonemized = phonemize(" ".join(words) + ".", "en")
        phones = torch.tensor(phonemized.ids)[None]
        network = decoder.sovits.enc_p
        encoded = network.encode_text(phones, torch.tensor([phones.shape[1]]))
        vectors = decoder.sovits.token_vectors(codes[None, None])
        path = network.align_phonemes(vectors, torch.ones(1, 1, vectors.shape[2]), encoded)
        assert path is not None
        timed = WordTimer(" ".join(words) + ".", phonemized).add(path[0].tolist(), last=True)
        for spoken, (start, end) in zip(timed, borders, strict=True):
            errors += [spoken.start - start, spoken.end - end]
    return errors


def cost(pipeline: Pipeline) -> Row:
    """Return what words cost beyond the phonemes and the alignment, which the decoder needs itself."""
    text = "The library closes at nine tonight, so please return your 3 books before then, or pay $5.99 on March 5."
    request = SynthesisRequest(text, "en", neutral_prompt(pipeline), 1)
    pipeline.speak_batch([request])
    started = time.process_time()
    (_speech,) = pipeline.speak_batch([request])
    synthesis = time.process_time() - started
    phonemized = phonemize(text, "en")
    frames = [index * len(phonemized.phonemes) // 400 for index in range(400)]
    started = time.process_time()
    for _ in range(20):
        written_words(text, phonemized)
        WordTimer(text, phonemized).add(frames, last=True)
    share = (time.process_time() - started) / 20 / synthesis
    return Row("cost, of the synthesis", "%", 100 * share, "goal", 100 * COST_GOAL, COST_GOAL / max(share, 1e-9))


def _lists() -> Iterator[str]:
    for number in range(LISTS):
        words = [NUMBERS[(number * 3 + position * 7) % len(NUMBERS)] for position in range(WORDS_IN_LIST)]
        yield ", ".join(words).capitalize() + "."


def _heard(samples: np.ndarray, rate: int, words: Sequence[SpokenWord]) -> list[float]:
    """Return the differences of the reported times to those at which the level rises and falls."""
    window = round(WINDOW_SECONDS * rate)
    level = np.abs(samples[: len(samples) // window * window].reshape(-1, window)).max(axis=1)
    errors: list[float] = []
    for index, word in enumerate(words):
        before = words[index - 1].end if index else 0.0
        after = words[index + 1].start if index + 1 < len(words) else len(samples) / rate
        first, last = (
            round(seconds / WINDOW_SECONDS) for seconds in ((before + word.start) / 2, (word.end + after) / 2)
        )
        own = level[first:last]
        loud = np.flatnonzero(own > FLOOR * own.max())
        if word.start - before > 0.05:
            errors.append(word.start - (first + loud[0]) * WINDOW_SECONDS)
        if after - word.end > 0.05:
            errors.append(word.end - (first + loud[-1] + 1) * WINDOW_SECONDS)
    return errors


def _clip(pipeline: Pipeline, word: str) -> np.ndarray:
    """Return a spoken word without the silence around it."""
    speech = pipeline.speak(f"{word.capitalize()}, {word}.", "en", neutral_prompt(pipeline), seed=1)
    first = speech.samples[: round((speech.words[0].end + speech.words[1].start) / 2 * speech.sample_rate)]
    loud = np.flatnonzero(np.abs(first) > FLOOR * np.abs(first).max())
    return first[loud[0] : loud[-1] + 1]


def _row(metric: str, milliseconds: float, goal: float) -> Row:
    return Row(metric, "ms", milliseconds, "goal", goal, goal / max(milliseconds, 1e-9))


if __name__ == "__main__":
    main()
