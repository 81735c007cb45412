"""A GPT with pointers says every phoneme of its text, once and in order."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from GPT_SoVITS.gpt import guided_attention
from GPT_SoVITS.gpt.continuous_batching import ContinuousBatch
from GPT_SoVITS.gpt.data import GPTItem, collate
from GPT_SoVITS.gpt.decoder import GenerationInput
from GPT_SoVITS.gpt.guided_attention import GuidedAttention, limit_steps
from GPT_SoVITS.gpt.loss import compute_loss
from GPT_SoVITS.gpt.model import Text2Semantic
from GPT_SoVITS.gpt.pointer import MAX_TOKENS_PER_PHONEME
from GPT_SoVITS.gpt.sampling import SamplingSettings
from GPT_SoVITS.noise import SeededNoise

FREELY = SamplingSettings(top_k=None, repetition_penalty=1.0, min_tokens=1)
GREEDY = SamplingSettings(top_k=1, repetition_penalty=1.0, min_tokens=1)


def model() -> Text2Semantic:
    torch.manual_seed(7)
    sizes = {"embedding_dim": 32, "hidden_dim": 32, "head": 2, "n_layer": 2, "vocab_size": 65, "EOS": 64}
    others = {"phoneme_vocab_size": 732, "dropout": 0, "pointers": [[0, 1], [1, 0]]}
    return Text2Semantic.from_config({"model": sizes | others}).eval()


def text(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 732, (int(torch.randint(2, 30, (1,), generator=generator)),), generator=generator)


def walk(speaker: Text2Semantic, phonemes: torch.Tensor, settings: SamplingSettings) -> tuple[list[int], list[int]]:
    """Return the tokens, and the phoneme that each one speaks."""
    batch = ContinuousBatch(speaker)
    number = batch.add_request(GenerationInput(phonemes), settings, SeededNoise(1))
    places, tokens = [], []
    while batch:
        finished = batch.step()
        if finished:
            tokens = finished[number]
        else:
            places.append(int(batch.decoder.pointers.state[0, 0]))  # type: ignore[attr-defined]
    return tokens, places[: len(tokens)]


@pytest.mark.parametrize("seed", range(12))
def test_every_phoneme_is_spoken_once_and_in_order(seed: int) -> None:
    phonemes = text(seed)

    tokens, places = walk(model(), phonemes, FREELY)

    assert len(tokens) == len(places)
    assert places[0] == 0
    assert all(0 <= after - before <= 1 for before, after in pairwise(places))
    assert places[-1] == len(phonemes) - 1
    assert max(places.count(place) for place in places) <= MAX_TOKENS_PER_PHONEME


def test_rows_go_their_own_way_side_by_side() -> None:
    speaker, texts = model(), [text(seed) for seed in range(5)]
    alone = [walk(speaker, phonemes, FREELY)[0] for phonemes in texts]

    batch = ContinuousBatch(speaker)
    numbers = [batch.add_request(GenerationInput(phonemes), FREELY, SeededNoise(1)) for phonemes in texts[:3]]
    finished = batch.step()
    numbers += [batch.add_request(GenerationInput(phonemes), FREELY, SeededNoise(1)) for phonemes in texts[3:]]
    while batch:
        finished |= batch.step()

    assert [finished[number] for number in numbers] == alone


def test_what_is_known_of_a_phoneme_decides_its_tokens_and_how_long_it_lasts() -> None:
    speaker, phonemes = model(), torch.tensor([5, 9, 5, 40])
    lasting = {5: 2, 9: 3, 40: 1}
    with torch.no_grad():
        for phone, count in lasting.items():
            speaker.model.ar_pointer_tokens[phone, phone] = 1e3
            speaker.model.ar_pointer_moving[phone] = -1e3
            speaker.model.ar_pointer_moving[phone, count - 1 :] = 1e3
        speaker.model.ar_pointer_tokens[40, 64] = 2e3  # the end, as soon as it may come

    tokens, _ = walk(speaker, phonemes, GREEDY)

    assert tokens == [5, 5, 9, 9, 9, 5, 5, 40]


def test_a_pointer_that_never_moves_by_itself_is_moved_on() -> None:
    speaker, phonemes = model(), torch.tensor([3, 4, 5])
    with torch.no_grad():
        speaker.model.ar_pointer_moving.fill_(-1e3)
        speaker.model.ar_pointer_tokens[:, 64] = -1e3

    tokens, places = walk(speaker, phonemes, FREELY)

    assert [places.count(place) for place in range(3)] == [MAX_TOKENS_PER_PHONEME] * 3
    assert len(tokens) == 3 * MAX_TOKENS_PER_PHONEME


def test_a_pointer_of_a_training_never_rises_by_more_than_one_and_ends_where_it_ended() -> None:
    assert limit_steps(torch.tensor([0, 0, 2, 2, 3, 5])).tolist() == [0, 1, 2, 3, 4, 5]
    assert limit_steps(torch.tensor([0, 0, 0, 1, 1, 2])).tolist() == [0, 0, 0, 1, 1, 2]
    assert limit_steps(torch.tensor([3, 4])).tolist() == [1, 2]


def items() -> list[GPTItem]:
    generator = torch.Generator().manual_seed(2)
    return [
        GPTItem(f"item-{i}", list(range(10 + i)), torch.randint(0, 64, (25 + i,), generator=generator).tolist(), None)
        for i in range(4)
    ]


def test_guidance_that_narrows_nothing_and_errs_never_changes_no_likelihood(monkeypatch: pytest.MonkeyPatch) -> None:
    speaker, work = model(), items()
    guide = GuidedAttention(speaker, {item.name: torch.zeros(len(item.tokens), dtype=torch.long) for item in work})
    monkeypatch.setattr(guided_attention, "WRONG_TOKENS", 0.0)
    monkeypatch.setattr(guide, "_restricted_visibility", lambda *_: {})

    guided = guide.compute_loss(work, collate(work))

    plain = compute_loss(speaker, collate(work))
    torch.testing.assert_close(guided.cross_entropy, plain.cross_entropy)
    assert float(guided.loss.detach()) > float(plain.loss.detach())


def test_a_guided_training_teaches_the_pointers() -> None:
    torch.manual_seed(0)
    speaker, work = model().train(), items()
    pointers = {item.name: torch.arange(len(item.tokens)) * len(item.phonemes) // len(item.tokens) for item in work}
    guide, batch = GuidedAttention(speaker, pointers), collate(work)
    optimizer = torch.optim.Adam(speaker.parameters(), lr=3e-3)

    losses = []
    for _ in range(60):
        result = guide.compute_loss(work, batch)
        optimizer.zero_grad()
        result.loss.backward()
        optimizer.step()
        losses.append(float((result.loss - result.cross_entropy).detach()))

    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
