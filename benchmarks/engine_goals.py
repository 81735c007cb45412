"""How fast the engine's parts are beside PyTorch's in float32, in turns in one run; for `scripts/bench engine`.

Random weights of v2's official sizes, and nano's base. A ratio to a goal is above 1 where the goal is reached.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from benchmarks.engine_streams import TEXTS, base_voice
from benchmarks.report import Row
from GPT_SoVITS.checkpoints.checkpoint import Checkpoint
from GPT_SoVITS.checkpoints.checkpoint_files import save_checkpoint
from GPT_SoVITS.configs import load_config
from GPT_SoVITS.engine.warm_up import neutral_prompt
from GPT_SoVITS.gpt.decoder import Decoder, GenerationInput, TorchDecoder
from GPT_SoVITS.gpt.decoder_choice import new_decoder
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.native.decoder import NativeDecoder
from GPT_SoVITS.gpt.native.library import KERNELS_VARIABLE, load_library
from GPT_SoVITS.gpt.native.weights import Kind, pack_native_weights
from GPT_SoVITS.gpt.packed_weights import Precision
from GPT_SoVITS.pipeline import EncodedPrompt, Pipeline, SamplingSettings, SynthesisRequest
from GPT_SoVITS.sovits.compiled_generator import CompiledGenerator, Runtime
from GPT_SoVITS.sovits.model import SoVITS
from GPT_SoVITS.synthesis.waveform_decoder import WaveformDecoder

Turns = dict[str, Callable[[], float]]
Measure = Callable[[Turns, int], dict[str, list[float]]]
PHONES, PROMPT, STEPS, TOKENS = 100, 125, 20, 100
V2_SECONDS: Final = TOKENS / 25
STEP_GOALS: Final = {
    "f16, 1 row, 2 threads": 4.0,
    "f16, 1 row, 1 thread": 3.0,
    "f16, 8 rows, 2 threads": 2.2,
    "int8, 1 row, 2 threads": 9.0,
    "int8, 8 rows, 2 threads": 3.0,
    "AVX2 f16, 1 row, 2 threads": 2.0,
    "AVX2 int8, 1 row, 2 threads": 3.0,
}
"""Times as fast as PyTorch's float32 step of as many rows and threads."""
READ_SHARE, F16_ERROR, INT8_ERROR = 0.8, 1e-5, 4e-2
JOIN_MS, V2_RTF, V2_SPEEDUP, VOCODER_SHARE = 3.0, 0.12, 4.0, 0.35
NANO_STEP_MS, NANO_RTF, NANO_FIRST_MS, STREAM_SHARE = 0.7, 0.06, 40.0, 1.3


@dataclass(frozen=True, slots=True)
class Voice:
    """A pipeline, and what it is asked to speak."""

    pipeline: Pipeline
    request: SynthesisRequest

    def speak(self) -> float:
        """Return the seconds of speaking in one piece."""
        started = time.perf_counter()
        self.pipeline.speak_batch([self.request])
        return time.perf_counter() - started

    def stream(self) -> float:
        """Return the seconds of all chunks."""
        started = time.perf_counter()
        list(self.pipeline.stream(self.request))
        return time.perf_counter() - started

    def first_chunk(self) -> float:
        """Return the seconds to the first chunk."""
        started = time.perf_counter()
        next(iter(self.pipeline.stream(self.request)))
        return time.perf_counter() - started


def goals(rounds: int, measure: Measure) -> Iterator[Row]:
    """Measure everything; `measure` runs functions in turns."""
    if load_library() is None:
        print("The native decoder was not built: its rows are left out.")
    else:
        yield from steps(rounds, measure)
    yield from speech(rounds, measure)


def steps(rounds: int, measure: Measure) -> Iterator[Row]:
    """Measure decoding steps of v2's GPT."""
    model = Text2Semantic.from_config(load_config("v2_gpt")).eval().requires_grad_(False).half()
    decoders: dict[str, tuple[Decoder, int, int]] = {}
    for threads in (1, 2):
        for rows in (1, 8):
            name = f"{rows} row{'s' * (rows > 1)}, {threads} thread{'s' * (threads > 1)}"
            decoders[f"fp32, {name}"] = (TorchDecoder(model, "fp32"), rows, threads)
            kinds: tuple[tuple[str, Kind], ...] = (("f16", "half"), ("int8", "int8"))
            for label, kind in kinds:
                weights = pack_native_weights(model, kind)
                decoders[f"{label}, {name}"] = (NativeDecoder(weights, threads), rows, threads)
                with kernels("avx2") as available:
                    if available and rows == 1 and threads == 2:
                        decoders[f"AVX2 {label}, {name}"] = (NativeDecoder(weights, threads), rows, threads)
    logits: dict[str, torch.Tensor] = {}
    with torch.inference_mode():
        for name, (decoder, rows, _) in decoders.items():
            logits[name] = decoder.prefill([start(row) for row in range(rows)], (rounds + 2) * STEPS)
    turns: Turns = {name: lambda run=run: step_seconds(*run) for name, run in decoders.items()}  # type: ignore[misc]
    weight_bytes = sum(tensor.nbytes for tensor in pack_native_weights(model, "half").tensors)
    buffer = torch.ones(weight_bytes // 4)
    turns["read"] = lambda: read_seconds(buffer)
    middle = {name: statistics.median(values) for name, values in measure(turns, rounds).items()}
    for name, goal in STEP_GOALS.items():
        if name in middle:
            base = middle["fp32, " + name.split(", ", 1)[1]]
            yield _at_least(f"s1 step, {name}", "times fp32", base / middle[name], goal)
    share = middle["read"] / middle["f16, 1 row, 2 threads"]
    yield _at_least("s1 step, f16, 1 row, 2 threads", "of the speed of reading memory", share, READ_SHARE)
    plain = logits["fp32, 1 row, 2 threads"]
    for name, limit in (("f16", F16_ERROR), ("int8", INT8_ERROR)):
        error = float((logits[f"{name}, 1 row, 2 threads"] - plain).abs().max())
        yield _at_most(f"s1 prefill, {name}, largest error", "logits", error, limit)
    yield _at_least("s1 rows that are, to the last bit, as one alone", "of all", *equal_rows(model))
    yield _at_most("s1, a row joins 7 others", "ms over a step", join_milliseconds(model, rounds), JOIN_MS)


def start(row: int) -> GenerationInput:
    """Return a row of v2's usual beginning."""
    generator = torch.Generator().manual_seed(row)
    phonemes = torch.randint(0, 700, (PHONES,), generator=generator)
    return GenerationInput(phonemes, None, torch.randint(0, 1024, (PROMPT,), generator=generator))


@torch.inference_mode()
def step_seconds(decoder: Decoder, rows: int, threads: int) -> float:
    """Return the seconds of one step."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    started = time.perf_counter()
    for _ in range(STEPS):
        decoder.step(torch.full((rows,), 7))
    seconds = (time.perf_counter() - started) / STEPS
    torch.set_num_threads(before)
    return seconds


def read_seconds(buffer: torch.Tensor) -> float:
    """Return the seconds of reading as many bytes as a step reads, which no step can beat."""
    started = time.perf_counter()
    for _ in range(STEPS):
        buffer.sum()
    return (time.perf_counter() - started) / STEPS


@torch.inference_mode()
def equal_rows(model: Text2Semantic) -> tuple[float, float]:
    """Return which part of the rows has the bits of one row alone, of unequal lengths, while one leaves; and 1."""
    weights = pack_native_weights(model, "half")
    inputs = [GenerationInput(start(row).phonemes[: 20 + 9 * row], None, start(row).prompt) for row in range(8)]
    alone = []
    for row in inputs:
        decoder = NativeDecoder(weights, 1)
        decoder.prefill([row], 8)
        alone.append([decoder.step(torch.tensor([token]))[0] for token in (5, 6, 7)])
    equal = total = 0
    for count in (1, 2, 3, 4, 8):
        for threads in (1, 2):
            decoder, present = NativeDecoder(weights, threads), list(range(count))
            decoder.prefill(inputs[:count], 8)
            for number, token in enumerate((5, 6, 7)):
                logits = decoder.step(torch.full((len(present),), token))
                equal += sum(torch.equal(logits[i], alone[row][number]) for i, row in enumerate(present))
                total += len(present)
                if number == 0 and len(present) > 1:
                    decoder.remove_row(0)
                    present = [present[-1], *present[1:-1]]
    return equal / total, 1.0


@torch.inference_mode()
def join_milliseconds(model: Text2Semantic, rounds: int) -> float:
    """Return what the first step after a row has joined takes longer than the others."""
    weights, extra = pack_native_weights(model, "half"), []
    for _ in range(rounds):
        decoder = NativeDecoder(weights, 2)
        decoder.prefill([start(row) for row in range(7)], 2 * STEPS)
        decoder.prefill([start(7)], 2 * STEPS)
        times = []
        for _ in range(9):
            started = time.perf_counter()
            decoder.step(torch.full((8,), 7))
            times.append(1000 * (time.perf_counter() - started))
        extra.append(times[0] - statistics.median(times[1:]))
    return max(0.0, statistics.median(extra))


def speech(rounds: int, measure: Measure) -> Iterator[Row]:
    """Measure whole voices: v2 with random weights, and nano's base."""
    with tempfile.TemporaryDirectory(prefix="bench-engine-") as folder:
        files = write_v2(Path(folder))
        fast, small = v2_voice(files, "auto", "auto"), v2_voice(files, "int8", "auto")
        plain = v2_voice(files, "fp32", "torch")
        nano = nano_voice()

        def without_native() -> float:
            with kernels("off"):
                return plain.speak()

        latent, style = torch.randn(1, 192, 2 * TOKENS), torch.randn(1, 512, 1)
        turns: Turns = {
            "v2, PyTorch": without_native,
            "v2": fast.speak,
            "v2, int8": small.speak,
            "v2, stream": fast.stream,
            "vocoder, PyTorch": lambda: generator_seconds(plain.pipeline, latent, style),
            "vocoder": lambda: generator_seconds(fast.pipeline, latent, style),
            "nano": nano.speak,
            "nano, stream": nano.stream,
            "nano, first": nano.first_chunk,
            "nano, step": nano_step_seconds(nano.pipeline),
        }
        middle = {name: statistics.median(values) for name, values in measure(turns, rounds).items()}
    decoder = fast.pipeline.decoder
    assert isinstance(decoder, WaveformDecoder)
    runtime = decoder.sovits.dec.precision if isinstance(decoder.sovits.dec, CompiledGenerator) else "PyTorch"
    seconds = len(nano.pipeline.speak_batch([nano.request])[0].samples) / nano.pipeline.sample_rate
    yield _at_least("v2, 4 s of audio", "times PyTorch fp32", middle["v2, PyTorch"] / middle["v2"], V2_SPEEDUP)
    yield _at_most("v2, 4 s of audio", "RTF", middle["v2"] / V2_SECONDS, V2_RTF)
    yield _at_most("v2, 4 s of audio, int8", "RTF", middle["v2, int8"] / V2_SECONDS, 0.1)
    share = middle["vocoder"] / middle["vocoder, PyTorch"]
    yield _at_most(f"v2's generator, {runtime}", "of PyTorch's time", share, VOCODER_SHARE)
    yield _at_most("v2, stream", "times speaking", middle["v2, stream"] / middle["v2"], STREAM_SHARE)
    yield _at_most("nano, stream", "times speaking", middle["nano, stream"] / middle["nano"], STREAM_SHARE)
    yield _at_most("nano, one step with pointers", "ms", 1000 * middle["nano, step"], NANO_STEP_MS)
    yield _at_most(f"nano, {seconds:.1f} s of audio", "RTF", middle["nano"] / seconds, NANO_RTF)
    yield _at_most("nano, first chunk", "ms", 1000 * middle["nano, first"], NANO_FIRST_MS)


def write_v2(folder: Path) -> tuple[Path, Path]:
    """Write a voice of v2's sizes, with random weights in half precision."""
    gpt, sovits = load_config("v2_gpt"), load_config("v2")
    save_checkpoint(
        folder / "gpt.safetensors", Checkpoint("gpt", "v2", gpt, Text2Semantic.from_config(gpt).state_dict())
    )
    state = SoVITS.from_config(sovits).voice_state()
    save_checkpoint(folder / "sovits.safetensors", Checkpoint("sovits", "v2", sovits, state))
    return folder / "gpt.safetensors", folder / "sovits.safetensors"


def v2_voice(files: tuple[Path, Path], precision: Precision, runtime: Runtime) -> Voice:
    """Load a voice that speaks for four seconds."""
    pipeline = Pipeline.load(*files, precision=precision, runtime=runtime)
    sampling = SamplingSettings(early_stop_num=TOKENS - 1, min_tokens=TOKENS)
    return Voice(pipeline, SynthesisRequest(TEXTS[0], "en", long_prompt(pipeline), 3, sampling=sampling))


def long_prompt(pipeline: Pipeline) -> EncodedPrompt:
    """Return a prompt of five seconds."""
    prompt, beginning = neutral_prompt(pipeline), start(0)
    assert beginning.prompt is not None
    return EncodedPrompt(beginning.prompt, beginning.phonemes[:60], prompt.style)


def nano_voice() -> Voice:
    """Load nano's base."""
    pipeline, prompt = base_voice()
    return Voice(pipeline, SynthesisRequest(TEXTS[0], "en", prompt, 3))


def nano_step_seconds(pipeline: Pipeline) -> Callable[[], float]:
    """Return a function that measures a step of nano's GPT."""

    @torch.inference_mode()
    def measure_steps() -> float:
        decoder = new_decoder(pipeline.gpt)
        decoder.prefill([GenerationInput(start(0).phonemes[:60])], STEPS)
        return step_seconds(decoder, 1, torch.get_num_threads())

    return measure_steps


@torch.inference_mode()
def generator_seconds(pipeline: Pipeline, latent: torch.Tensor, style: torch.Tensor) -> float:
    """Return the seconds of turning a latent into sound."""
    assert isinstance(pipeline.decoder, WaveformDecoder)
    started = time.perf_counter()
    pipeline.decoder.sovits.dec(latent, style)
    return time.perf_counter() - started


@contextmanager
def kernels(name: str) -> Iterator[bool]:
    """Make new decoders with these kernels, or with PyTorch for `off`; yield whether the native one can use them."""
    before = os.environ.get(KERNELS_VARIABLE)
    os.environ[KERNELS_VARIABLE] = name
    load_library.cache_clear()
    try:
        yield load_library() is not None
    finally:
        if before is None:
            del os.environ[KERNELS_VARIABLE]
        else:
            os.environ[KERNELS_VARIABLE] = before
        load_library.cache_clear()


def _at_least(metric: str, unit: str, ours: float, goal: float) -> Row:
    return Row(metric, unit, ours, "goal, at least", goal, ours / goal)


def _at_most(metric: str, unit: str, ours: float, goal: float) -> Row:
    return Row(metric, unit, ours, "goal, at most", goal, goal / max(ours, 1e-9))
