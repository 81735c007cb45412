"""The passes of chunks as a GPU captures them, on a CPU: run by themselves, or recorded and repeated as by a graph."""

from __future__ import annotations

import gc
import logging
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from recorded_replays import VIEWS, RecordedReplays, TracedReplays, name_of, record
from tiny_voices import TINY_SOVITS
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from GPT_SoVITS.configs import load_config, merge_config
from GPT_SoVITS.graphs.registry import GraphRegistry
from GPT_SoVITS.noise import SeededNoise
from GPT_SoVITS.sovits.graphs import registry
from GPT_SoVITS.sovits.graphs.buckets import FRAME_BUCKETS, ROW_BUCKETS, EncoderBucket, GeneratorBucket, LatentBucket
from GPT_SoVITS.sovits.graphs.network import WORK, GraphNetwork
from GPT_SoVITS.sovits.graphs.registry import VoiceGraphs, next_capture, release_networks
from GPT_SoVITS.sovits.graphs.weights import can_be_captured
from GPT_SoVITS.sovits.model import SoVITS
from GPT_SoVITS.synthesis.acoustic_decoder import AcousticConditions
from GPT_SoVITS.synthesis.generator_rows import GeneratorRow, generate
from GPT_SoVITS.synthesis.streaming_decoder import StreamingDecoder

CHUNKS = (12, 17, 40, 33, 9)
"""Tokens of each chunk of a sentence."""
ROUNDING = 2e-5
"""Of waves whose largest samples are about one; in a padded convolution the sums are in another order."""


class Launches(TorchDispatchMode):
    """Counts operations that are no views; a replay of a recording is one, and counts as none."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if name_of(func) not in VIEWS:
            self.counts[name_of(func)] += 1
        return func(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def no_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_networks", GraphRegistry(WORK))


def network_of(version: str, seed: int = 1, **sizes: Any) -> SoVITS:
    """Return a network in miniature, whose waves are as loud as speech."""
    torch.manual_seed(seed)
    config = merge_config(load_config(version), {"model": {**TINY_SOVITS, **sizes}})
    sovits: Any = SoVITS.from_config(config, posterior=False).eval().requires_grad_(False)
    for coupling in sovits.flow.flows[::2]:
        coupling.post.weight.normal_(std=0.1)
    for layer in sovits.dec.modules():
        if hasattr(layer, "weight_g"):
            layer.weight_g.copy_(layer.weight_v.flatten(1).norm(dim=1).view_as(layer.weight_g) * 30)
    network: SoVITS = sovits.fold_weight_norm()
    return network


def conditions_of(sovits: SoVITS, speed: float = 1.0) -> AcousticConditions:
    style = torch.randn(1, sovits.config.gin_channels, 1, generator=torch.Generator().manual_seed(7))
    return AcousticConditions(torch.arange(5, 45), style, SeededNoise(11), speed)


def speak(
    sovits: SoVITS, graphs: VoiceGraphs | None, speed: float = 1.0, chunks: tuple[int, ...] = CHUNKS
) -> tuple[list[Tensor], list[int]]:
    """Return the waves of a sentence's chunks, and the phonemes of all its frames."""
    decoder = StreamingDecoder(sovits, conditions_of(sovits, speed), graphs=graphs)
    generator = torch.Generator().manual_seed(5)
    waves, spoken = [], []
    for number, size in enumerate(chunks, start=1):
        tokens = torch.randint(0, 1024, (size,), generator=generator).tolist()
        waves.append(decoder.push(tokens, final=number == len(chunks)).clone())
        spoken += decoder.spoken
    return waves, spoken


def rows_of(sovits: SoVITS, lengths: tuple[int, ...], graphs: VoiceGraphs | None = None) -> list[GeneratorRow]:
    random = torch.Generator().manual_seed(2)
    config = sovits.config
    return [
        GeneratorRow(
            sovits.dec,
            torch.randn(1, config.inter_channels, length, generator=random),
            torch.randn(1, config.gin_channels, 1, generator=random),
            graphs,
        )
        for length in lengths
    ]


def memory_of(graphs: VoiceGraphs) -> GraphNetwork:
    network = graphs.network()
    assert network is not None
    return network


def are_equal(waves: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(wave, other) for wave, other in zip(waves, others, strict=True))


@pytest.mark.parametrize(("version", "speed"), [("v1", 1.0), ("v2", 0.8), ("v2Pro", 1.3)])
def test_a_stream_is_bit_for_bit_that_of_the_same_shapes_and_all_but_rounding_that_without_padding(version, speed):
    sovits = network_of(version)
    expected, phonemes = speak(sovits, None, speed)
    graphs = VoiceGraphs(sovits)
    padded, _ = speak(sovits, graphs, speed)
    replays = record(memory_of(graphs))
    while (capture := next_capture(1)) is not None:
        capture()
    captured = set(replays.recordings)
    replayed, spoken = speak(sovits, graphs, speed)

    assert max(float(wave.abs().max()) for wave in expected if len(wave)) > 0.3
    assert are_equal(replayed, padded)
    assert spoken == phonemes
    for wave, unpadded in zip(replayed, expected, strict=True):
        torch.testing.assert_close(wave, unpadded, rtol=0, atol=ROUNDING)
    assert {type(bucket) for bucket in captured} == {EncoderBucket, LatentBucket, GeneratorBucket}
    assert replays.replayed.total() == 3 * len(CHUNKS), "each chunk is three launches"


@pytest.mark.parametrize("lengths", [(5,), (32, 31), (20, 61, 33), (17,) * 8, (64, 3, 50, 17, 12)])
def test_chunks_that_share_a_run_are_as_each_is_alone_and_what_pads_them_is_not_heard(lengths):
    sovits = network_of("v2")
    alone = [generate([row])[0] for row in rows_of(sovits, lengths)]
    graphs = VoiceGraphs(sovits)
    padded = generate(rows_of(sovits, lengths, graphs))
    replays = record(memory_of(graphs))
    generate(rows_of(sovits, lengths[:1], graphs))
    (bucket,) = [bucket for bucket in memory_of(graphs)._generators if bucket.rows >= len(lengths)]
    memory_of(graphs).capture(bucket)
    memory_of(graphs)._generators[bucket].latents.fill_(3.0)  # what other chunks left
    together = generate(rows_of(sovits, lengths, graphs))

    assert replays.replayed[bucket] == 1
    assert are_equal(together, padded)
    for wave, expected in zip(together, alone, strict=True):
        torch.testing.assert_close(wave, expected, rtol=0, atol=ROUNDING)


def test_a_generator_in_half_precision_gives_the_same_with_graphs_and_float32_to_its_caller():
    exact = network_of("v2")
    expected = generate(rows_of(exact, (20, 31)))
    sovits = network_of("v2").halve_generator()
    graphs = VoiceGraphs(sovits)
    lengths = (20, 31)
    padded = generate(rows_of(sovits, lengths, graphs))
    record(memory_of(graphs))
    capture = next_capture(1)
    assert capture is not None
    capture()
    replayed = generate(rows_of(sovits, lengths, graphs))
    without = generate(rows_of(sovits, lengths))

    assert sovits.dec.dtype == torch.float16
    assert {wave.dtype for wave in (*replayed, *without)} == {torch.float32}
    assert are_equal(replayed, padded)
    for wave, unpadded, reference in zip(replayed, without, expected, strict=True):
        torch.testing.assert_close(wave, unpadded, rtol=0, atol=0.02)
        assert (wave - reference).norm() < 0.02 * reference.norm()


def test_runs_of_a_bucket_are_the_same_operations_on_the_same_memory_whoever_speaks_and_read_nothing():
    voices = [network_of("v2", seed) for seed in (1, 2)]
    graphs = [VoiceGraphs(sovits) for sovits in voices]
    network = memory_of(graphs[0])
    assert memory_of(graphs[1]) is network
    traces = network.replays = TracedReplays()
    for size in (13, 15, 14):
        for sovits, voice in zip(voices, graphs, strict=True):
            speak(sovits, voice, chunks=(size, 30 + size, size))
            generate(rows_of(sovits, (size, 40 + size, 9), voice))

    assert {type(bucket) for bucket in traces.signatures} == {EncoderBucket, LatentBucket, GeneratorBucket}
    for bucket, signatures in traces.signatures.items():
        assert len(signatures) >= 2, bucket
        assert all(signature == signatures[0] for signature in signatures), bucket


def test_voices_that_take_turns_sound_as_each_does_alone():
    voices = [network_of("v2", seed) for seed in (1, 2, 3)]
    expected = [speak(sovits, VoiceGraphs(sovits))[0] for sovits in voices]
    graphs = [VoiceGraphs(sovits) for sovits in voices]
    record(memory_of(graphs[0]))
    decoders = [
        StreamingDecoder(sovits, conditions_of(sovits), graphs=voice)
        for sovits, voice in zip(voices, graphs, strict=True)
    ]
    spoken: list[list[Tensor]] = [[], [], []]
    random = torch.Generator().manual_seed(5)
    for number, size in enumerate(CHUNKS, start=1):
        tokens = torch.randint(0, 1024, (size,), generator=random).tolist()
        for waves, decoder in zip(spoken, decoders, strict=True):
            waves.append(decoder.push(tokens, final=number == len(CHUNKS)).clone())
        while (capture := next_capture(1)) is not None:
            capture()

    assert len(registry._networks.kept) == 1
    for waves, alone in zip(spoken, expected, strict=True):
        assert are_equal(waves, alone)
    assert not are_equal(expected[0], expected[1])


def test_what_exceeds_the_largest_bucket_is_computed_as_without_graphs():
    sovits = network_of("v2")
    graphs = VoiceGraphs(sovits)
    chunks = (12, 140, 20, 12)  # at a pace of 0.8 more frames than a bucket has
    assert are_equal(
        generate(rows_of(sovits, (FRAME_BUCKETS[-1] + 1, 9), graphs)),
        generate(rows_of(sovits, (FRAME_BUCKETS[-1] + 1, 9))),
    )
    many = (9,) * (ROW_BUCKETS[-1] + 1)
    assert are_equal(generate(rows_of(sovits, many, graphs)), generate(rows_of(sovits, many)))
    with_graphs, phonemes = speak(sovits, graphs, 0.8, chunks)
    without, expected = speak(sovits, None, 0.8, chunks)

    assert phonemes == expected
    for wave, unpadded in zip(with_graphs, without, strict=True):
        torch.testing.assert_close(wave, unpadded, rtol=0, atol=ROUNDING)


def test_a_sentence_goes_on_without_graphs_where_they_cannot_be_used_any_longer():
    sovits = network_of("v2")
    graphs = VoiceGraphs(sovits)
    expected, _ = speak(sovits, None)
    decoder = StreamingDecoder(sovits, conditions_of(sovits), graphs=graphs)
    random = torch.Generator().manual_seed(5)
    for number, size in enumerate(CHUNKS, start=1):
        tokens = torch.randint(0, 1024, (size,), generator=random).tolist()
        wave = decoder.push(tokens, final=number == len(CHUNKS))
        torch.testing.assert_close(wave, expected[number - 1], rtol=0, atol=ROUNDING)
        if number == 2:
            release_networks()
            assert graphs.network() is None


def test_nothing_is_captured_before_it_has_run_and_the_most_used_comes_first():
    sovits = network_of("v2")
    graphs = VoiceGraphs(sovits)
    assert next_capture(1) is None
    replays = record(memory_of(graphs))
    for _ in range(8):
        generate(rows_of(sovits, (20,), graphs))
    generate(rows_of(sovits, (60,), graphs))

    assert not replays.recordings
    assert next_capture(9) is None
    capture = next_capture(8)
    assert capture is not None
    capture()
    assert list(replays.recordings) == [GeneratorBucket(1, 32)]
    assert next_capture(8) is None
    generate(rows_of(sovits, (20,), graphs))
    assert replays.replayed.total() == 1


def test_a_capture_that_fails_is_reported_once_and_chunks_go_on(caplog, monkeypatch):
    sovits = network_of("v2")
    graphs = VoiceGraphs(sovits)
    generate(rows_of(sovits, (20,), graphs))
    replays = record(memory_of(graphs))

    def refused(work: object) -> None:
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    monkeypatch.setattr(replays, "run", refused)
    replays._work = WORK
    capture = next_capture(1)
    assert capture is not None
    with caplog.at_level(logging.WARNING):
        capture()
    waves = generate(rows_of(sovits, (20,), graphs))

    assert next_capture(1) is None
    assert are_equal(waves, generate(rows_of(sovits, (20,))))
    (warning,) = [entry.getMessage() for entry in caplog.records]
    assert warning == (
        "CUDA graphs cannot be used here, so chunks of audio are computed without: "
        "operation not permitted when stream is capturing"
    )


def capture_all(graphs: VoiceGraphs, graph_bytes: int, max_bytes: int) -> RecordedReplays:
    """Capture what has run, with graphs of so many bytes and this limit."""
    network = memory_of(graphs)
    network.replays, network.max_bytes = RecordedReplays(graph_bytes), max_bytes
    while (capture := next_capture(1)) is not None:
        capture()
    assert isinstance(network.replays, RecordedReplays)
    return network.replays


def test_the_least_recently_used_network_is_forgotten_when_all_take_too_much_memory_until_a_voice_is_loaded():
    old, new = network_of("v1"), network_of("v2Pro")
    first, second = VoiceGraphs(old), VoiceGraphs(new)
    generate(rows_of(old, (20,), first))
    capture_all(first, 60_000_000, 100_000_000)
    generate(rows_of(new, (20,), second))
    assert list(registry._networks.kept) == [first.weights.shape, second.weights.shape]
    replays = capture_all(second, 60_000_000, 100_000_000)

    assert list(registry._networks.kept) == [second.weights.shape]
    assert list(replays.recordings) == [GeneratorBucket(1, 32)]
    assert first.network() is None
    assert are_equal(generate(rows_of(old, (20,), first)), generate(rows_of(old, (20,))))
    registry._networks.forget_lack_of_memory()
    assert first.network() is not None


def test_a_bucket_that_takes_too_much_memory_by_itself_is_captured_no_more_and_smaller_ones_are():
    sovits = network_of("v2")
    graphs = VoiceGraphs(sovits)
    generate(rows_of(sovits, (20,), graphs))
    small = capture_all(graphs, 0, 100_000_000)
    small.graph_bytes = 200_000_000
    generate(rows_of(sovits, (60, 60), graphs))
    while (capture := next_capture(1)) is not None:
        capture()
    assert not small.recordings
    small.graph_bytes = 0
    for _ in range(2):
        generate(rows_of(sovits, (60, 60), graphs))
        generate(rows_of(sovits, (20,), graphs))
        while (capture := next_capture(1)) is not None:
            capture()

    assert list(small.recordings) == [GeneratorBucket(1, 32)]


def test_a_checkpoint_that_is_forgotten_leaves_memory():
    sovits = network_of("v2")
    graphs = VoiceGraphs(sovits)
    generate(rows_of(sovits, (20,), graphs))
    network = memory_of(graphs)
    assert len(network.voices) == 1
    del sovits, graphs
    gc.collect()

    assert not network.voices


def test_the_passes_of_nano_are_not_captured():
    nano = SoVITS.from_config(load_config("nano"), posterior=False)

    assert not can_be_captured(nano)
    assert can_be_captured(network_of("v2"))


def test_a_chunk_takes_a_tenth_of_the_launches():
    """Of v2's layers."""
    layers: dict[str, Any] = {
        "n_layers": 6,
        "flow_couplings": 4,
        "flow_layers": 4,
        "resblock_kernel_sizes": [3, 7, 11],
        "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
    }
    sovits = network_of("v2", **layers)
    graphs = VoiceGraphs(sovits)
    launches = []
    for voice in (None, graphs):
        speak(sovits, voice)
        if voice is not None:
            replays = record(memory_of(graphs))
            while (capture := next_capture(1)) is not None:
                capture()
        decoder = StreamingDecoder(sovits, conditions_of(sovits), graphs=voice)
        decoder.push(list(range(CHUNKS[0])))
        with Launches() as counted:
            decoder.push(list(range(CHUNKS[1])))
        launches.append(counted.counts.total())

    assert replays.replayed.total() == 6
    assert launches[0] > 900
    assert launches[1] + 3 <= launches[0] / 10


def test_a_voice_of_another_shape_has_memory_of_its_own():
    sovits = network_of("v2")
    other = network_of("v2", inter_channels=20)
    graphs = [VoiceGraphs(network) for network in (sovits, other, network_of("v2").halve_generator())]

    assert len({id(memory_of(voice)) for voice in graphs}) == 3
    assert replace(graphs[0].weights.shape, generator_dtype=torch.float16) == graphs[2].weights.shape
