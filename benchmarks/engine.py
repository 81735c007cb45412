"""The model itself at official v2 size with random weights: tokens, sound, features, training and loading.

What others reach is known from one machine of this kind, beside what its plain linear products allowed (75 tok/s) and
its convolutions. Both are timed here in turns with ours, and the known share is compared: the others need downloaded
weights and cannot be driven with random ones. Numbers are medians over the rounds. Run by `scripts/bench engine`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F

from benchmarks.engine_goals import goals
from benchmarks.report import Row, report
from common.programs import bound_command
from GPT_SoVITS.configs import load_config
from GPT_SoVITS.gpt.continuous_batching import ContinuousBatch
from GPT_SoVITS.gpt.decoder import GenerationInput
from GPT_SoVITS.gpt.model import Text2Semantic, TransformerLayer
from GPT_SoVITS.gpt.sampling import SamplingSettings
from GPT_SoVITS.noise import SeededNoise
from GPT_SoVITS.sovits.model import SoVITS

REPOSITORY: Final = Path(__file__).resolve().parent.parent
CHILD: Final = REPOSITORY / "benchmarks" / "peers" / "engine_child.py"
KNOWN_LINEARS: Final = 75.0
"""Tokens a second that plain linear products allowed where the others were measured."""
KNOWN: Final = {"gpt-sovits-cpufast": 63.0, "the original": 54.5, "genie-tts": 135.5}
"""Tokens a second there, the middle of what was seen."""
GFLOP_PER_SECOND_OF_SOUND: Final = 42.5
CONVOLUTION_SHARE: Final = 0.72
"""Of the convolution peak, that the goal allows the original's work to take."""
PHONES, PROMPT, STEPS = 100, 125, 150
SOUND_SECONDS: Final = 4.0
GOALS: Final = {"hubert_mb": 160.0, "loader_percent": 5.0, "load_seconds": 1.0, "load_mb": 400.0}

Times = dict[str, list[float]]


def main(arguments: list[str] | None = None) -> None:
    """Print the table; `--json FILE` writes it."""
    parser = argparse.ArgumentParser(prog="scripts/bench engine", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--steps", type=int, default=STEPS, help="tokens of one decoding run")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    before = os.getloadavg()[0]
    rows = [*goals(options.rounds, in_turns)]
    rows += [*tokens(options.rounds, options.steps), *sound(options.rounds), *children(options.threads)]
    print(f"\n{options.threads} threads; other work on this machine when it began: a load of {before:.1f}")
    report("engine", rows, options.json)


def tokens(rounds: int, steps: int) -> Iterator[Row]:
    """Measure stage 1: decoding steps only, without the prefill of the prompt."""
    model = Text2Semantic.from_config(load_config("v2_gpt")).eval()
    with torch.no_grad():
        model.model.ar_predict_layer.weight[-1] = 0  # an end token that is never the likeliest
    turns = {
        "linears": lambda: linears_per_second(model),
        "fp32": lambda: tokens_per_second(model, 1, steps, "fp32"),
        "bf16": lambda: tokens_per_second(model, 1, steps, "bf16"),
        "rows": lambda: tokens_per_second(model, 8, steps, "fp32"),
    }
    numbers = in_turns(turns, rounds)
    middle = {name: statistics.median(values) for name, values in numbers.items()}
    for precision, ours in (("fp32", middle["fp32"]), ("bf16", middle["bf16"])):
        metric = f"s1 decode, batch 1, {precision}"
        for peer, share in KNOWN.items():
            theirs = middle["linears"] * share / KNOWN_LINEARS
            yield Row(metric, "tok/s", ours, f"{peer} (known share of linears)", theirs, ours / theirs)
        yield Row(metric, "tok/s", ours, "linears alone", middle["linears"], ours / middle["linears"])
    single, eight = middle["fp32"], middle["rows"]
    yield Row("s1 decode, 8 rows, fp32", "tok/s", eight, "our batch 1", single, eight / single)


def sound(rounds: int) -> Iterator[Row]:
    """Measure stage 2, from tokens to samples."""
    model = SoVITS.from_config(load_config("v2"), posterior=False).eval()
    model.fold_weight_norm()
    numbers = in_turns({"decode": lambda: decode_seconds(model), "peak": convolution_gflops}, rounds)
    seconds, peak = statistics.median(numbers["decode"]), statistics.median(numbers["peak"])
    factor = seconds / SOUND_SECONDS
    allowed = GFLOP_PER_SECOND_OF_SOUND / (CONVOLUTION_SHARE * peak)
    reached = GFLOP_PER_SECOND_OF_SOUND / factor
    yield Row("s2 decode, v2, 4 s of sound", "RTF", factor, "72 % of the peak", allowed, allowed / factor)
    yield Row("s2 decode, v2, 4 s of sound", "GFLOP/s", reached, "a plain conv1d", peak, reached / peak)


def children(threads: int) -> Iterator[Row]:
    """Measure what needs a process of its own: memory, and times from a fresh start."""
    with tempfile.TemporaryDirectory(prefix="bench-engine-") as folder:
        measured = child("hubert", folder, threads)
        yield below("HuBERT features of 10 s, memory over the model", "MB", measured["mb"], GOALS["hubert_mb"])
        measured = child("training", folder, threads)
        percent = 100 * measured["data"] / (measured["data"] + measured["learning"])
        yield below("s2 training step, share of loading data", "%", percent, GOALS["loader_percent"])
        child("checkpoints", folder, threads)
        measured = child("load", folder, threads)
        yield below("loading a v2 voice", "s", measured["seconds"], GOALS["load_seconds"])
        yield below("loading a v2 voice, peak memory over its files", "MB", measured["mb"], GOALS["load_mb"])


def in_turns(turns: dict[str, Callable[[], float]], rounds: int) -> Times:
    """Measure each once per round, so that a busy machine slows all of them; a round before the first warms up."""
    times: Times = defaultdict(list)
    for number in range(rounds + 1):
        for name, measure in turns.items():
            print(f"round {number} of {rounds}: {name}", file=sys.stderr)
            value = measure()
            if number:
                times[name].append(value)
    return times


def tokens_per_second(model: Text2Semantic, rows: int, steps: int, precision: Any) -> float:
    batch = ContinuousBatch(model, precision=precision)
    settings = SamplingSettings(early_stop_num=steps)
    for i in range(rows):
        generator = torch.Generator().manual_seed(i)
        phonemes = torch.randint(0, 700, (PHONES,), generator=generator)
        prompt = torch.randint(0, 1024, (PROMPT,), generator=generator)
        batch.add_request(GenerationInput(phonemes, None, prompt), settings, SeededNoise(i))
    batch.step()
    start = time.perf_counter()
    for _ in range(steps):
        batch.step()
    return rows * steps / (time.perf_counter() - start)


@torch.inference_mode()
def linears_per_second(model: Text2Semantic, steps: int = 20) -> float:
    """Return the steps per second of nothing but `torch.nn.functional.linear` over all the weights, one row."""
    layers = [layer for layer in model.model.h.layers if isinstance(layer, TransformerLayer)]
    width = model.config.embedding_dim
    x, wide = torch.randn(1, width), torch.randn(1, 4 * width)
    start = time.perf_counter()
    for _ in range(steps):
        for layer in layers:
            F.linear(x, layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias)
            F.linear(x, layer.self_attn.out_proj.weight, layer.self_attn.out_proj.bias)
            F.linear(x, layer.linear1.weight, layer.linear1.bias)
            F.linear(wide, layer.linear2.weight, layer.linear2.bias)
        F.linear(x, model.model.ar_predict_layer.weight)
    return steps / (time.perf_counter() - start)


def decode_seconds(model: SoVITS) -> float:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 1024, (1, 1, int(25 * SOUND_SECONDS)), generator=generator)
    text = torch.randint(0, 700, (1, 40), generator=generator)
    style = torch.randn(1, 512, 1, generator=generator)
    start = time.perf_counter()
    model.decode(codes, text, ge=style, noise=SeededNoise(0))
    return time.perf_counter() - start


@torch.inference_mode()
def convolution_gflops(channels: int = 128, size: int = 7, length: int = 16_000, times: int = 8) -> float:
    """Return the 10^9 operations per second of one of the generator's own convolutions, alone and again and again."""
    x, weight = torch.randn(1, channels, length), torch.randn(channels, channels, size)
    start = time.perf_counter()
    for _ in range(times):
        F.conv1d(x, weight, padding=size // 2)
    return times * 2 * channels * channels * size * length / (time.perf_counter() - start) / 1e9


def child(task: str, folder: str, threads: int) -> dict[str, float]:
    print(f"a process of its own: {task}", file=sys.stderr)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": str(threads)}
    finished = subprocess.run(
        bound_command([sys.executable, str(CHILD), task, folder]),
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: dict[str, float] = json.loads(finished.stdout.splitlines()[-1])
    return figures


def below(metric: str, unit: str, ours: float, goal: float) -> Row:
    return Row(metric, unit, ours, "goal", goal, goal / max(ours, 1e-9))


if __name__ == "__main__":
    main()
