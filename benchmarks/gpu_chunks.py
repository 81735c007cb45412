"""The second stage of v2's size on one GPU: chunks without and with CUDA graphs. Part of `scripts/bench gpu`."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.report import Row
from GPT_SoVITS.configs import load_config
from GPT_SoVITS.noise import SeededNoise
from GPT_SoVITS.sovits.generator import Generator
from GPT_SoVITS.sovits.graphs.registry import VoiceGraphs, next_capture
from GPT_SoVITS.sovits.model import SoVITS
from GPT_SoVITS.synthesis.acoustic_decoder import AcousticConditions
from GPT_SoVITS.synthesis.generator_rows import GeneratorRow, GeneratorUse, generate
from GPT_SoVITS.synthesis.model_loading import weight_dtype
from GPT_SoVITS.synthesis.streaming_decoder import StreamingDecoder

STREAMS = (1, 2, 4, 8)
CHUNKS = (20, 30, 45)
"""Tokens of a stream's chunks; the last ones are measured."""
REPEATS = 10
LOUDNESS = 1.4
"""Of random weights; with it, waves of noise have an amplitude of about a quarter."""


def chunk_agreement(device: str) -> Iterator[Row]:
    """Compare the chunks of graphs with those of the same padded shapes, and with those of the shapes as they are."""
    for precision in ("fp32", "auto"):
        sovits = random_sovits(device, precision)
        graphs = VoiceGraphs(sovits)
        expected, padded = decode(sovits, None, 2), decode(sovits, graphs, 2)
        started, captures = time.perf_counter(), 0
        while (capture := next_capture(1)) is not None:
            capture()
            captures += 1
        seconds = time.perf_counter() - started
        replayed = decode(sovits, graphs, 2)
        same = sum(torch.equal(wave, other) for wave, other in zip(replayed, padded, strict=True))
        name = f"chunks of graphs with the bits of their operations, {precision}"
        yield Row(name, "", same, "all", len(padded), same / len(padded))
        errors = [float((wave - other).norm() / other.norm()) for wave, other in zip(replayed, expected, strict=True)]
        name, error = f"their difference to chunks without padding, {precision}", max(errors)
        yield Row(name, "of the norm", error, "goal", 0.01, 0.01 / max(error, 1e-9))
        if device == "cuda":
            network = graphs.network()
            if network is None:
                sys.exit("CUDA graphs could not be captured, for the reason above: nothing was measured.")
            yield Row("a graph of a chunk is captured", "s", seconds / captures, "goal", 0.1, 0.1 * captures / seconds)
            used = network.memory_bytes / (1 << 20)
            yield Row("VRAM of these graphs and their weights", "MiB", used, "limit", 2048, 2048 / used)


def chunks(device: str) -> Iterator[Row]:
    """Measure a chunk of each of several streams, in the precision that suits the device: without graphs, then with."""
    sovits = random_sovits(device, "auto")
    graphs = VoiceGraphs(sovits)
    for streams in STREAMS:
        decode(sovits, graphs, streams)
        while (capture := next_capture(1)) is not None:
            capture()
        times = {voice: milliseconds(sovits, voice, streams) for voice in (None, graphs)}
        before, after = times[None], times[graphs]
        yield Row(f"chunks of {streams} streams", "ms", before, "without", before, 1.0)
        yield Row(f"chunks of {streams} streams by CUDA graphs", "ms", after, "without", before, before / after)


def random_sovits(device: str, precision: str) -> SoVITS:
    """Return a network of v2's size with random weights, as loud as speech, in a precision."""
    torch.manual_seed(1)
    sovits = SoVITS.from_config(load_config("v2"), posterior=False).fold_weight_norm().eval().requires_grad_(False)
    assert isinstance(sovits.dec, Generator)
    for layer in [*sovits.dec.ups.modules(), *sovits.dec.resblocks.modules()]:
        if isinstance(layer, torch.nn.Conv1d | torch.nn.ConvTranspose1d):
            layer.weight.normal_(std=LOUDNESS / layer.weight[0].numel() ** 0.5)
    sovits.to(device)
    if device == "cuda" and weight_dtype(precision, torch.device(device)) != torch.float32:
        sovits.halve_generator()
    return sovits


def decode(sovits: SoVITS, graphs: VoiceGraphs | None, streams: int) -> list[Tensor]:
    """Return the waves of all chunks of so many streams."""
    decoders = new_decoders(sovits, graphs, streams)
    return [wave for size in CHUNKS for wave in advance(decoders, size)]


def milliseconds(sovits: SoVITS, graphs: VoiceGraphs | None, streams: int) -> float:
    """Return how long the last chunks take, one of each stream; the median."""
    times = []
    for _ in range(REPEATS):
        decoders = new_decoders(sovits, graphs, streams)
        for size in CHUNKS[:-1]:
            advance(decoders, size)
        synchronize(sovits)
        started = time.perf_counter()
        advance(decoders, CHUNKS[-1])
        synchronize(sovits)
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def new_decoders(sovits: SoVITS, graphs: VoiceGraphs | None, streams: int) -> list[StreamingDecoder]:
    """Begin so many sentences of 40 phonemes."""
    device = next(sovits.parameters()).device
    style = torch.randn(1, sovits.config.gin_channels, 1, generator=torch.Generator().manual_seed(1)).to(device)
    return [
        StreamingDecoder(sovits, AcousticConditions(torch.arange(5, 45), style, SeededNoise(seed)), graphs=graphs)
        for seed in range(streams)
    ]


def advance(decoders: list[StreamingDecoder], size: int) -> list[Tensor]:
    """Decode so many tokens of every stream with one run of the generator, as the engine does."""
    begun: list[tuple[GeneratorUse[Tensor], GeneratorRow]] = []
    for seed, decoder in enumerate(decoders):
        tokens = torch.randint(0, 1024, (size,), generator=torch.Generator().manual_seed(seed)).tolist()
        work = decoder.decoding(tokens)
        begun.append((work, next(work)))
    waves = []
    for (work, _), wave in zip(begun, generate([row for _, row in begun]), strict=True):
        try:
            work.send(wave)
        except StopIteration as end:
            waves.append(end.value)
    return waves


def synchronize(model: torch.nn.Module) -> None:
    """Wait for the GPU that a model is on."""
    device = next(model.parameters()).device
    if device.type == "cuda":
        torch.cuda.synchronize(device)
