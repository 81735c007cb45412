from __future__ import annotations

import hypothesis.strategies as st
import pytest
import torch
from gpt_generation import generate_seeded, row
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from GPT_SoVITS.gpt.continuous_batching import ContinuousBatch
from GPT_SoVITS.gpt.decoder import GenerationInput, TorchDecoder
from GPT_SoVITS.gpt.generate import generate_batch
from GPT_SoVITS.gpt.kv_cache import RESERVED_SLOTS, SLOT_MULTIPLE
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.packed_weights import round_up
from GPT_SoVITS.gpt.sampling import SamplingRules, SamplingSettings, probabilities
from GPT_SoVITS.noise import SeededNoise

MANNERS = (
    SamplingSettings(early_stop_num=30),
    SamplingSettings(early_stop_num=12, temperature=0.7, top_k=5),
    SamplingSettings(early_stop_num=45, top_p=0.9, repetition_penalty=1.0),
    SamplingSettings(early_stop_num=25, top_k=None, temperature=1.5, repetition_penalty=2.0, min_tokens=3),
    SamplingSettings(early_stop_num=20, top_k=1),
)


def alone(model: Text2Semantic, seed: int, manner: int) -> list[int]:
    return generate_seeded(model, [row(seed)], MANNERS[manner], [seed])[0]


def model_of(width: int) -> Text2Semantic:
    torch.manual_seed(7)
    sizes = {"embedding_dim": width, "hidden_dim": width, "head": 4, "n_layer": 2, "vocab_size": 65, "EOS": 64}
    model = Text2Semantic.from_config({"model": sizes | {"phoneme_vocab_size": 732, "dropout": 0}}).eval()
    with torch.no_grad():
        model.model.ar_predict_layer.weight.mul_(4)
    return model


WIDE = model_of(320)  # beyond what takes the products row by row


@settings(max_examples=6, stateful_step_count=20, suppress_health_check=list(HealthCheck))
class Company(RuleBasedStateMachine):
    """Rows come, go and end in any order; each gives what it gives alone."""

    @initialize()
    def begin(self) -> None:
        self.batch = ContinuousBatch(WIDE)
        self.there: dict[int, tuple[int, int]] = {}

    @precondition(lambda self: len(self.there) < 8)
    @rule(seed=st.integers(0, 7), manner=st.integers(0, len(MANNERS) - 1))
    def add(self, seed: int, manner: int) -> None:
        number = self.batch.add_request(row(seed), MANNERS[manner], SeededNoise(seed))
        assert number not in self.there
        self.there[number] = (seed, manner)

    @rule(count=st.integers(1, 12))
    def step(self, count: int) -> None:
        for _ in range(count):
            for number, tokens in self.batch.step().items():
                assert tokens == self.expected(*self.there.pop(number))

    @precondition(lambda self: self.there)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.there)))
        whole, sofar = self.expected(*self.there.pop(number)), self.batch.tokens(number)
        self.batch.remove_request(number)
        assert sofar == whole[: len(sofar)]
        with pytest.raises(KeyError):
            self.batch.tokens(number)

    @invariant()
    def all_are_there(self) -> None:
        assert len(self.batch) == len(self.there)

    def teardown(self) -> None:
        while self.batch:
            self.step(1)
        assert not self.there

    def expected(self, seed: int, manner: int, cache: dict = {}) -> list[int]:  # noqa: B006
        if (seed, manner) not in cache:
            cache[seed, manner] = alone(WIDE, seed, manner)
        return cache[seed, manner]


TestCompany = pytest.mark.slow(Company.TestCase)


@pytest.mark.parametrize("width", [32, 320])
def test_rows_in_a_batch_of_eight_with_settings_of_their_own_give_what_they_give_alone(width):
    model = model_of(width)
    manners = [i % len(MANNERS) for i in range(8)]

    together = generate_batch(
        model,
        [row(seed) for seed in range(8)],
        [MANNERS[manner] for manner in manners],
        [SeededNoise(seed) for seed in range(8)],
    )

    assert [t.tolist() for t in together] == [alone(model, seed, manner) for seed, manner in enumerate(manners)]


def test_logits_are_the_same_to_the_last_digits_in_every_company():
    with torch.inference_mode():
        company, single = TorchDecoder(WIDE), TorchDecoder(WIDE)
        company.prefill([row(seed) for seed in range(8)], steps=80)
        single.prefill([row(3)], steps=80)

        for token in range(60):
            tokens = torch.arange(8) + token % 50
            together, apart = company.step(tokens)[3], single.step(tokens[3:4])[0]
            torch.testing.assert_close(together, apart, atol=2e-6, rtol=1e-6)


def test_a_row_that_leaves_gives_its_place_to_the_last():
    with torch.inference_mode():
        decoder, single = TorchDecoder(WIDE), TorchDecoder(WIDE)
        decoder.prefill([row(1), row(2), row(3)], steps=10)
        decoder.step(torch.tensor([1, 2, 3]))
        decoder.remove_row(0)

        single.prefill([row(3)], steps=10)
        single.step(torch.tensor([3]))

        together = decoder.step(torch.tensor([4, 5]))[0]
        torch.testing.assert_close(together, single.step(torch.tensor([4]))[0], atol=2e-6, rtol=1e-6)


def test_steps_agree_with_reading_everything_at_once_across_growing_caches():
    start, foreseen = row(5), 10
    tokens = torch.randint(0, 64, (foreseen + 2 * SLOT_MULTIPLE,), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        decoder = TorchDecoder(WIDE)
        decoder.prefill([start], steps=foreseen)
        for token in tokens:
            logits = decoder.step(token[None])

        whole = GenerationInput(start.phonemes, start.bert, torch.cat([start.prompt, tokens]))
        torch.testing.assert_close(logits, TorchDecoder(WIDE).prefill([whole], steps=1), atol=5e-5, rtol=1e-5)


def test_the_cache_holds_no_more_than_its_rows_need_and_nothing_without_rows(tiny_model):
    decoder = TorchDecoder(tiny_model)
    settings = SamplingSettings(early_stop_num=20)
    batch = ContinuousBatch(tiny_model, decoder=decoder)
    longest = max(len(row(s).phonemes) + (0 if row(s).prompt is None else len(row(s).prompt)) for s in range(8))
    for round_ in range(12):
        for seed in range(round_ % 3 + 1):
            batch.add_request(row(seed), settings, SeededNoise(seed))
        for _ in range(8):
            batch.step()
            _, rows, _, _, slots, _ = decoder.cache.shape
            assert rows <= 2 * 8
            assert slots <= round_up(longest + RESERVED_SLOTS, SLOT_MULTIPLE)
    while batch:
        batch.step()

    assert decoder.cache.numel() == 0


def test_bf16_stays_near_fp32():
    with torch.inference_mode():
        exact, half = TorchDecoder(WIDE, "fp32"), TorchDecoder(WIDE, "bf16")
        expected, actual = (d.prefill([row(1), row(2)], steps=5) for d in (exact, half))
        for token in range(4):
            torch.testing.assert_close(actual, expected, atol=0.05 * float(expected.std()), rtol=0.02)
            expected, actual = (d.step(torch.tensor([token, token + 1])) for d in (exact, half))

    assert not torch.equal(actual, expected), "bf16 should be something else where the processor has it"


def test_bf16_rows_do_not_influence_one_another():
    rows, manner = [row(seed) for seed in range(1, 4)], MANNERS[0]

    together = generate_seeded(WIDE, rows, manner, range(3), precision="bf16")

    for seed, tokens in enumerate(together):
        assert [tokens] == generate_seeded(WIDE, [rows[seed]], manner, [seed], precision="bf16")


def test_weights_in_half_precision_give_what_their_values_give_in_float32():
    half = model_of(320).half()
    full = model_of(320).half().float()

    assert alone(half, 1, 0) == alone(full, 1, 0)


def test_a_change_of_the_weights_is_seen(tiny_model):
    before = alone(tiny_model, 1, 0)
    with torch.no_grad():
        for layer in tiny_model.model.h.layers:
            layer.linear2.weight.neg_()

    assert alone(tiny_model, 1, 0) != before


def test_looking_seldom_changes_nothing_for_rows_that_join_on_the_way():
    batch = ContinuousBatch(WIDE, read_interval=7)
    finished: dict[int, list[int]] = {}
    seeds = {}
    for seed in (1, 2, 5):
        seeds[batch.add_request(row(seed), MANNERS[0], SeededNoise(seed))] = seed
        for _ in range(4):
            finished |= batch.step()
    while batch:
        finished |= batch.step()

    assert {seeds[number]: tokens for number, tokens in finished.items()} == {s: alone(WIDE, s, 0) for s in (1, 2, 5)}


def test_rules_of_several_rows_are_those_of_each(tiny_model):
    z = torch.randn(len(MANNERS), 65, generator=torch.Generator().manual_seed(2)) * 3

    together = probabilities(z, SamplingRules.of(MANNERS, z.device))

    for i, manner in enumerate(MANNERS):
        assert torch.equal(together[i : i + 1], probabilities(z[i : i + 1], manner))
