"""Steps as a GPU captures them, on a CPU: run by themselves, and recorded and repeated as a graph would."""

from __future__ import annotations

import gc
import logging
import weakref
from functools import cache
from pathlib import Path

import pytest
import torch
from gpt_generation import row
from recorded_replays import TracedReplays, record

from GPT_SoVITS.checkpoints.checkpoint_files import open_checkpoint
from GPT_SoVITS.configs import load_config, merge_config
from GPT_SoVITS.engine.warm_up import BASE
from GPT_SoVITS.gpt.continuous_batching import ContinuousBatch
from GPT_SoVITS.gpt.decoder import GenerationInput, TorchDecoder
from GPT_SoVITS.gpt.generate import generate_batch
from GPT_SoVITS.gpt.graphs.buckets import REPLAY_STEPS, ROW_BUCKETS
from GPT_SoVITS.gpt.graphs.decoder import new_graph_decoder
from GPT_SoVITS.gpt.graphs.weights import step_weights
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.sampling import SamplingSettings
from GPT_SoVITS.noise import SeededNoise

MANNERS = (
    SamplingSettings(early_stop_num=30),
    SamplingSettings(early_stop_num=12, temperature=0.7, top_k=5),
    SamplingSettings(early_stop_num=45, top_p=0.9, repetition_penalty=1.0),
    SamplingSettings(early_stop_num=25, top_k=None, temperature=1.5, repetition_penalty=2.0, min_tokens=3),
    SamplingSettings(early_stop_num=20, top_k=1),
    SamplingSettings(early_stop_num=0),
    SamplingSettings(early_stop_num=8, min_tokens=30),
)


@cache
def model_of(version: str) -> Text2Semantic:
    """Return nano's base, or a GPT of a version's sizes with two layers of random weights."""
    if version == "nano":
        checkpoint = open_checkpoint(Path(BASE) / "gpt.safetensors")
        model = Text2Semantic.from_config(checkpoint.config).eval().float()
        model.load_state_dict(checkpoint.state)
        return model
    torch.manual_seed(1)
    config = merge_config(load_config(f"{version}_gpt"), {"model": {"n_layer": 2}})
    model = Text2Semantic.from_config(config).eval()
    with torch.no_grad():
        model.model.ar_predict_layer.weight.mul_(4)
    return model


def starts(model: Text2Semantic, count: int) -> list[GenerationInput]:
    """Return rows of unequal lengths, for nano without prompts."""
    generator = torch.Generator().manual_seed(3)
    rows = []
    for number in range(count):
        length = 20 + 15 * number
        phonemes = torch.randint(5, 300, (length,), generator=generator)
        prompt = torch.randint(0, 1000, (10 + 9 * number,), generator=generator)
        rows.append(GenerationInput(phonemes, None, None if model.config.pointers else prompt))
    return rows


def reference(model: Text2Semantic, start: GenerationInput, manner: SamplingSettings, seed: int) -> list[int]:
    """Return what TorchDecoder gives a row alone."""
    return generate_batch(model, [start], [manner], [SeededNoise(seed)], decoder=TorchDecoder(model))[0].tolist()


def finish(batch: ContinuousBatch) -> dict[int, list[int]]:
    finished: dict[int, list[int]] = {}
    while batch:
        finished |= batch.step()
    return finished


@cache
def expected_tokens(version: str, number: int) -> list[int]:
    """Return what TorchDecoder gives a row of `starts` alone."""
    model = model_of(version)
    return reference(model, starts(model, 8)[number], settings_of_length(number), number)


def settings_of_length(number: int) -> SamplingSettings:
    return SamplingSettings(early_stop_num=25 + 5 * number)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 8])
@pytest.mark.parametrize("version", ["nano", "v1", "v2"])
def test_every_version_gives_the_tokens_of_the_reference_in_any_number_of_rows(version, rows):
    model = model_of(version)
    decoder = new_graph_decoder(model)
    replays = record(decoder)
    inputs = starts(model, rows)
    manners = [settings_of_length(number) for number in range(rows)]
    noise = [SeededNoise(seed) for seed in range(rows)]

    tokens = generate_batch(model, inputs, manners, noise, graphs=decoder)

    assert [row_tokens.tolist() for row_tokens in tokens] == [expected_tokens(version, n) for n in range(rows)]
    assert replays.replayed.total() >= 3, "recorded steps were repeated"
    assert decoder.rows == []


@pytest.mark.parametrize("is_recorded", [False, True])
def test_rows_with_settings_of_their_own_join_and_leave_and_give_what_they_give_alone(is_recorded, tiny_model):
    decoder = new_graph_decoder(tiny_model)
    if is_recorded:
        record(decoder)
    batch = ContinuousBatch(tiny_model, graphs=decoder)
    finished: dict[int, list[int]] = {}
    requests: dict[int, tuple[int, SamplingSettings]] = {}
    for seed, manner in enumerate(2 * MANNERS):
        requests[batch.add_request(row(seed), manner, SeededNoise(seed))] = (seed, manner)
        if seed % 3:
            finished |= batch.step()
        if seed in (4, 9):
            leaving = next(number for number in batch.known_tokens())
            so_far = batch.tokens(leaving)
            batch.remove_request(leaving)
            gone, settings = requests.pop(leaving)
            assert so_far == reference(tiny_model, row(gone), settings, gone)[: len(so_far)]
    finished |= finish(batch)

    assert set(finished) == set(requests)
    for number, (seed, manner) in requests.items():
        assert finished[number] == reference(tiny_model, row(seed), manner, seed), (seed, manner)


def test_rows_that_outgrow_their_slots_are_laid_out_anew_and_more_memory_is_taken_when_there_is_none(tiny_model):
    decoder = new_graph_decoder(tiny_model, positions=512)
    replays = record(decoder)
    generator = torch.Generator().manual_seed(1)
    long = GenerationInput(torch.randint(0, 700, (215,), generator=generator))
    longer = GenerationInput(torch.randint(0, 700, (500,), generator=generator))
    manner = SamplingSettings(early_stop_num=50, min_tokens=50)
    batch = ContinuousBatch(tiny_model, graphs=decoder)
    starts_of = {batch.add_request(start, manner, SeededNoise(0)): start for start in (row(1), long)}
    for _ in range(3):
        batch.step()
    assert decoder.length == 256
    starts_of[batch.add_request(longer, manner, SeededNoise(0))] = longer
    batch.step()
    assert decoder.length == 512
    assert decoder.buffers.positions >= 4 * 512
    finished = finish(batch)

    assert replays.replayed.total() > 3
    assert finished == {number: reference(tiny_model, start, manner, 0) for number, start in starts_of.items()}


def test_checkpoints_of_a_shape_share_the_memory_and_rows_of_one_stand_still_while_another_advances(tiny_model):
    other = Text2Semantic(tiny_model.config).eval()
    other.load_state_dict({name: tensor * 1.1 for name, tensor in tiny_model.state_dict().items()})
    decoder = new_graph_decoder(tiny_model)
    replays = record(decoder)
    models = (tiny_model, other, tiny_model)
    batches = [ContinuousBatch(model, graphs=decoder) for model in models]
    manner = SamplingSettings(early_stop_num=60, min_tokens=40)
    expected = []
    for model, batch in zip(models, batches, strict=True):
        for seed in range(2):
            batch.add_request(row(seed + 1), manner, SeededNoise(seed))
        expected.append([reference(model, row(seed + 1), manner, seed) for seed in range(2)])
    finished: list[dict[int, list[int]]] = [{}, {}, {}]
    turn = 0
    while any(batches):
        turn += 1
        for number, batch in enumerate(batches):
            if batch and turn % (number + 1) == 0:
                finished[number] |= batch.step()

    assert [list(tokens.values()) for tokens in finished] == expected
    assert expected[0] != expected[1]
    assert replays.replayed.total() > 10


def test_rows_that_do_not_fit_are_left_to_the_reference(tiny_model):
    decoder = new_graph_decoder(tiny_model)
    manner = SamplingSettings(early_stop_num=20, min_tokens=20)
    count = ROW_BUCKETS[-1] + 3
    record_of_noise = torch.ones(30, 65).exponential_(generator=torch.Generator().manual_seed(1))
    batch = ContinuousBatch(tiny_model, graphs=decoder)
    batch.add_request(row(1), manner, record_of_noise)
    for seed in range(count):
        batch.add_request(row(seed % 4), manner, SeededNoise(seed))
    batch.step()
    assert len(decoder.rows) == ROW_BUCKETS[-1]
    finished = list(finish(batch).values())

    recorded = generate_batch(tiny_model, [row(1)], [manner], [record_of_noise])[0].tolist()
    expected = [recorded] + [reference(tiny_model, row(seed % 4), manner, seed) for seed in range(count)]
    assert sorted(finished) == sorted(expected)


def test_tokens_that_are_decided_are_not_drawn(tiny_model):
    manner = SamplingSettings(early_stop_num=30, min_tokens=30)
    whole = reference(tiny_model, row(2), manner, 5)
    forced = [(token + 1) % 60 for token in whole[:13]]
    results = []
    for graphs in (None, new_graph_decoder(tiny_model)):
        batch = ContinuousBatch(tiny_model, graphs=graphs)
        batch.add_request(row(2), manner, SeededNoise(5), forced)
        batch.add_request(row(2), manner, SeededNoise(5))
        results.append(finish(batch))

    assert results[0] == results[1]
    assert results[1][1][:13] == forced
    assert results[1][2] == whole


def test_rows_of_a_batch_that_was_dropped_make_room(tiny_model):
    decoder = new_graph_decoder(tiny_model)
    for _ in range(2):
        batch = ContinuousBatch(tiny_model, graphs=decoder)
        for seed in range(ROW_BUCKETS[-1] - 1):
            batch.add_request(row(seed % 4), MANNERS[0], SeededNoise(seed))
        batch.step()
        assert len(decoder.rows) == ROW_BUCKETS[-1] - 1
        del batch
        gc.collect()
    decoder.drop_orphans()

    assert decoder.rows == []


def test_a_checkpoint_that_is_forgotten_leaves_memory(tiny_model):
    model = Text2Semantic(tiny_model.config).eval()
    model.load_state_dict(tiny_model.state_dict())
    decoder = new_graph_decoder(tiny_model)
    generate_batch(model, [row(1)], [MANNERS[0]], [SeededNoise(1)], graphs=decoder)
    weights = weakref.ref(step_weights(model, torch.float32))
    del model
    gc.collect()

    assert weights() is None


def test_a_capture_that_fails_is_reported_once_and_its_rows_go_on(tiny_model, caplog):
    decoder = new_graph_decoder(tiny_model)
    manner = SamplingSettings(early_stop_num=30, min_tokens=30)
    batch = ContinuousBatch(tiny_model, graphs=decoder)
    seeds = {batch.add_request(row(1), manner, SeededNoise(1)): 1}
    batch.step()
    with caplog.at_level(logging.WARNING):
        decoder.replays.fail(RuntimeError("operation not permitted\nwhen stream is capturing"))
        decoder.replays.fail(RuntimeError("again"))
    seeds[batch.add_request(row(2), manner, SeededNoise(2))] = 2
    batch.step()
    assert len(decoder.rows) == 1
    finished = finish(batch)

    assert finished == {number: reference(tiny_model, row(seed), manner, seed) for number, seed in seeds.items()}
    (warning,) = [record.getMessage() for record in caplog.records]
    assert warning.endswith("generated without: operation not permitted when stream is capturing")


@pytest.mark.parametrize("version", ["nano", "v2"])
def test_replays_run_the_same_operations_on_the_same_memory_and_no_value_is_read(version):
    model = model_of(version)
    decoder = new_graph_decoder(model)
    traces = decoder.replays = TracedReplays()
    batch = ContinuousBatch(model, graphs=decoder)
    manner = SamplingSettings(early_stop_num=100, min_tokens=80)
    inputs = starts(model, 4)
    for seed in range(3):
        batch.add_request(inputs[seed], manner, SeededNoise(seed))
    for _ in range(4):
        batch.step()
    batch.remove_request(2)
    batch.step()
    batch.add_request(inputs[1], SamplingSettings(temperature=0.5, top_k=3), SeededNoise(9))
    batch.step()

    (bucket,) = [bucket for bucket in traces.signatures if bucket.rows == 4]
    signatures = traces.signatures[bucket]
    assert len(signatures) == 5
    assert all(signature == signatures[0] for signature in signatures)


def test_a_step_launches_less_than_the_reference(tiny):
    """Of v2's 24 layers; where graphs are captured, all of it is one launch for eight steps."""
    torch.manual_seed(1)
    model = Text2Semantic.from_config(merge_config(tiny, {"model": {"n_layer": 24}})).eval()
    decoder = new_graph_decoder(model)
    traces = decoder.replays = TracedReplays()
    batch = ContinuousBatch(model, graphs=decoder)
    batch.add_request(row(1), SamplingSettings(), SeededNoise(1))
    batch.step()

    without_copies = sum(traces.launches.values()) - traces.launches["reshape"]
    assert without_copies / REPLAY_STEPS < 265


def test_a_row_that_leaves_its_number_to_the_last_one_keeps_what_is_known_of_both(tiny_model):
    decoder = new_graph_decoder(tiny_model)
    batch = ContinuousBatch(tiny_model, graphs=decoder)
    manner = SamplingSettings(early_stop_num=40, min_tokens=40)
    numbers = [batch.add_request(row(seed), manner, SeededNoise(seed)) for seed in range(3)]
    batch.step()
    batch.remove_request(numbers[0])
    finished = finish(batch)

    assert finished == {numbers[seed]: reference(tiny_model, row(seed), manner, seed) for seed in (1, 2)}
