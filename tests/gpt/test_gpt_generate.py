from __future__ import annotations

import pytest
import torch
from gpt_generation import generate_seeded

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.gpt.decoder import TorchDecoder
from GPT_SoVITS.gpt.generate import (
    MAX_TOKENS,
    GenerationInput,
    SamplingSettings,
    generate_batch,
    stream_tokens,
)
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.noise import SeededNoise

SETTINGS = SamplingSettings(early_stop_num=40)


def row(length: int, prompt: int | None = 6) -> GenerationInput:
    generator = torch.Generator().manual_seed(length)
    phones = torch.randint(0, 732, (length,), generator=generator)
    bert = torch.randn(1024, length, generator=generator)
    tokens = None if prompt is None else torch.randint(0, 64, (prompt,), generator=generator)
    return GenerationInput(phones, bert, tokens)


def alone(model: Text2Semantic, row: GenerationInput, seed: int, settings: SamplingSettings = SETTINGS) -> list[int]:
    return generate_seeded(model, [row], settings, [seed])[0]


def never_ends(model: Text2Semantic) -> Text2Semantic:
    """Return the same model with an end token that is out of the question."""
    with torch.no_grad():
        model.model.ar_predict_layer.weight[-1] = 0
        model.model.h.layers[-1].get_parameter("norm2.bias").copy_(model.model.ar_predict_layer.weight.mean(0) * 100)
    return model


def test_rows_of_a_batch_do_not_influence_one_another(tiny_model):
    rows = [row(9), row(20, prompt=3), row(5, prompt=None), row(14), row(7, prompt=15)]

    together = generate_seeded(tiny_model, rows, SETTINGS, range(len(rows)))

    assert together == [alone(tiny_model, r, i) for i, r in enumerate(rows)]
    assert len({len(tokens) for tokens in together}) > 2, "rows should end at different steps for this to mean much"


@pytest.mark.parametrize("read_interval", [5, 8, 100])
def test_looking_seldom_at_who_has_ended_changes_nothing(tiny_model, read_interval):
    rows = [row(9), row(20, prompt=3), row(5), row(14), row(7, prompt=15)]

    tokens = generate_seeded(tiny_model, rows, SETTINGS, range(len(rows)), read_interval=read_interval)

    assert tokens == [alone(tiny_model, r, i) for i, r in enumerate(rows)]


def test_a_seed_repeats_its_tokens_whatever_else_draws_from_torch(tiny_model):
    first = alone(tiny_model, row(9), seed=1)
    torch.rand(100)

    assert alone(tiny_model, row(9), seed=1) == first
    assert alone(tiny_model, row(9), seed=2) != first


def test_stepping_agrees_with_reading_the_whole_sequence_at_once(tiny_model):
    start = row(9)
    decoder = TorchDecoder(tiny_model)
    with torch.inference_mode():
        decoder.prefill([start], steps=20)
        stepped = [decoder.step(torch.tensor([token])) for token in range(20)]

        for count, logits in enumerate(stepped, start=1):
            longer = GenerationInput(start.phonemes, start.bert, torch.cat([start.prompt, torch.arange(count)]))
            whole = TorchDecoder(tiny_model).prefill([longer], steps=1)
            torch.testing.assert_close(logits, whole, atol=1e-5, rtol=1e-5)


def test_a_step_gives_the_callers_threads_back(tiny_model):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        alone(tiny_model, row(9), seed=1)

        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_what_the_cache_holds_beyond_a_rows_end_is_never_read(tiny_model):
    def stepped(filler: float) -> torch.Tensor:
        decoder = TorchDecoder(tiny_model)
        decoder.prefill([row(9), row(4)], steps=4)
        decoder.cache[:, 0, ..., 15:, :] = filler
        decoder.cache[:, 1, ..., 10:, :] = filler
        return decoder.step(torch.tensor([1, 2]))

    with torch.inference_mode():
        assert torch.equal(stepped(1e30), stepped(0.0))


def test_a_position_beyond_the_table_makes_the_table_longer(tiny_model):
    short = tiny_model.model.positions(10).clone()

    long = tiny_model.model.positions(5000)

    assert long.shape == (5000, 32)
    assert torch.equal(long[:10], short)


@pytest.mark.parametrize("count", [0, 1, 5, 30])
def test_early_stop_gives_one_token_more_than_its_number(tiny_model, count):
    settings = SamplingSettings(early_stop_num=count)

    assert len(alone(never_ends(tiny_model), row(9), 1, settings)) == count + 1


@pytest.mark.slow
def test_generation_ends_after_a_minute_of_tokens(tiny_model):
    assert len(alone(never_ends(tiny_model), row(9), 1, SamplingSettings())) == MAX_TOKENS


def test_the_end_is_out_of_reach_for_the_first_tokens(tiny_model):
    with torch.no_grad():  # a head that sees the end everywhere
        tiny_model.model.ar_predict_layer.weight.zero_()
        tiny_model.model.h.layers[-1].norm2.bias.fill_(1.0)
        tiny_model.model.ar_predict_layer.weight[-1] = 10.0

    assert len(alone(tiny_model, row(9), 1)) == SamplingSettings().min_tokens


def test_a_repeated_run_of_a_finished_batch_of_none_is_empty(tiny_model):
    assert generate_batch(tiny_model, [], [], []) == []


def test_generated_tokens_can_be_used_under_autograd(tiny_model):
    start = row(9)
    (tokens,) = generate_batch(tiny_model, [GenerationInput(start.phonemes)], [SETTINGS], [SeededNoise(0)])

    tiny_model.model.ar_audio_embedding(tokens).sum().backward()

    assert tiny_model.model.ar_audio_embedding.word_embeddings.weight.grad is not None


def test_a_stream_sends_every_token_once(tiny_model):
    settings = SamplingSettings(early_stop_num=60, top_k=None, temperature=20.0)
    start = row(12)
    whole = alone(never_ends(tiny_model), start, 4, settings)

    assert list(stream_tokens(tiny_model, start, settings, SeededNoise(4))) == whole


@pytest.mark.parametrize(
    "wrong", [{"top_k": 0}, {"temperature": -1.0}, {"top_p": float("nan")}, {"repetition_penalty": 0.0}]
)
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(ModelError) as refused:
        SamplingSettings(**wrong)

    assert refused.value.code == "bad_sampling"


@pytest.mark.parametrize(
    ("phones", "prompt", "code"),
    [([], [1], "empty_text"), ([732], [1], "wrong_symbols"), ([3], [64], "wrong_tokens")],
)
def test_ids_that_the_model_does_not_know_are_refused(tiny_model, phones, prompt, code):
    with pytest.raises(ModelError) as refused:
        generate_batch(
            tiny_model,
            [GenerationInput(torch.tensor(phones, dtype=torch.long), None, torch.tensor(prompt))],
            [SETTINGS],
            [SeededNoise(0)],
        )

    assert refused.value.code == code


def test_a_row_without_a_generator_is_a_mistake_of_the_caller(tiny_model):
    with pytest.raises(ValueError, match="shorter"):
        generate_batch(tiny_model, [row(4), row(5)], [SETTINGS] * 2, [SeededNoise(0)])
