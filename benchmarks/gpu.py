"""One GPU in at most ten minutes: agreement with the CPU, tokens a second, first audio, concurrent streams, VRAM.

The tokens are those of a GPT of v2's size with random weights, the speech is nano's base. Run by `scripts/bench gpu`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.engine_streams import TEXTS, base_voice, percentile, play
from benchmarks.report import Row, report
from GPT_SoVITS.configs import load_config
from GPT_SoVITS.engine.speech_engine import SpeechEngine
from GPT_SoVITS.gpt.continuous_batching import ContinuousBatch
from GPT_SoVITS.gpt.decoder import GenerationInput
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.sampling import SamplingSettings
from GPT_SoVITS.noise import SeededNoise
from GPT_SoVITS.synthesis.model_loading import weight_dtype

ROWS = (1, 2, 4, 8, 16, 32)
STEPS = 200
FIRST_AUDIO_GOAL, SLOWEST_GOAL = 80.0, 500.0
"""Milliseconds; those of two CPU cores."""
MIB = 1 << 20


def main(arguments: list[str] | None = None) -> None:
    """Print the table; `--json FILE` writes it."""
    parser = argparse.ArgumentParser(prog="scripts/bench gpu", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--device", default="cuda", help="cpu tries the script itself")
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("There is no GPU here that torch can use: nothing was measured.")
    rows = [*agreement(options.device), *tokens(options.device, options.steps), *speech(options.device)]
    report("gpu", rows, options.json)


def agreement(device: str) -> Iterator[Row]:
    """Compare what a seed gives on the device, in float32, with what it gives on the CPU."""
    here, there = base_voice(), base_voice(device, "fp32")
    same_tokens, errors = 0, []
    for seed, text in enumerate(TEXTS):
        expected = here[0].speak(text, "en", here[1], seed=seed)
        spoken = there[0].speak(text, "en", there[1], seed=seed)
        if spoken.tokens == expected.tokens:
            same_tokens += 1
            errors.append(float(abs(spoken.samples - expected.samples).max()))
    count = len(TEXTS)
    yield Row("sentences of the length that the CPU gives", "", same_tokens, "all", count, same_tokens / count)
    if errors:
        error = statistics.median(errors)
        yield Row("their largest difference", "of full scale", error, "goal", 0.01, 0.01 / max(error, 1e-9))


def tokens(device: str, steps: int) -> Iterator[Row]:
    """Measure the first stage at v2's size, in the precision that suits the device."""
    model = Text2Semantic.from_config(load_config("v2_gpt")).eval().to(device)
    with torch.no_grad():
        model.model.ar_predict_layer.weight[-1] = 0  # an end token that is never the likeliest
    model.to(weight_dtype("auto", torch.device(device)))
    single = 0.0
    for rows in ROWS:
        rate = tokens_per_second(model, rows, steps)
        single = single or rate
        yield Row(f"tokens, {rows} rows", "tok/s", rate, "one row", single, rate / single)
    if device == "cuda":
        used = torch.cuda.max_memory_allocated() / MIB
        yield Row("VRAM of the GPT and 32 rows", "MiB", used, "one engine", 2048, 2048 / used)


def tokens_per_second(model: Text2Semantic, rows: int, steps: int) -> float:
    """Return the tokens of all rows a second, without their prefill."""
    batch = ContinuousBatch(model)
    for seed in range(rows):
        generator = torch.Generator().manual_seed(seed)
        phonemes = torch.randint(0, 700, (100,), generator=generator).to(model.device)
        prompt = torch.randint(0, 1024, (125,), generator=generator).to(model.device)
        settings = SamplingSettings(early_stop_num=steps + 20, min_tokens=steps + 20)
        batch.add_request(GenerationInput(phonemes, None, prompt), settings, SeededNoise(seed))
    for _ in range(9):
        batch.step()
    started = time.perf_counter()
    for _ in range(steps):
        batch.step()
    if model.device.type == "cuda":
        torch.cuda.synchronize()
    return rows * steps / (time.perf_counter() - started)


def speech(device: str) -> Iterator[Row]:
    """Measure the engine: first audio alone and beside others, and streams without an underrun."""
    voice, engine = base_voice(device), SpeechEngine()
    play(engine, voice, 2)
    alone = [1000 * play(engine, voice, 1)[0].first_audio for _ in range(10)]
    for share in (0.5, 0.95):
        value = percentile(alone, share)
        yield Row(f"first audio, p{share:.0%}", "ms", value, "goal", FIRST_AUDIO_GOAL, FIRST_AUDIO_GOAL / value)
    slowest = max(1000 * clock.first_audio for clock in play(engine, voice, 8))
    yield Row("slowest first audio of 8", "ms", slowest, "goal", SLOWEST_GOAL, SLOWEST_GOAL / slowest)
    fluent = 0
    for count in (8, 16, 32, 64):
        if any(clock.underruns for clock in play(engine, voice, count)):
            break
        fluent = count
    yield Row("streams at once without an underrun", "", fluent, "goal", 8, fluent / 8)
    engine.close()
    if device == "cuda":
        reserved = torch.cuda.max_memory_reserved() / MIB
        yield Row("VRAM reserved", "MiB", reserved, "one engine", 2048, 2048 / reserved)


if __name__ == "__main__":
    main()
