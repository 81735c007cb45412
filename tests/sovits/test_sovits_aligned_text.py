"""Nano's text encoder knows which phoneme each frame speaks."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from GPT_SoVITS.sovits.aligned_text import DIAGONAL_WEIGHT, MIN_LOG_PROB, align_phonemes
from GPT_SoVITS.sovits.quantizer import Quantizer
from GPT_SoVITS.sovits.token_noise import TokenNoise

SYMBOLS = 9


def heard(frames: int, seed: int = 0) -> Tensor:
    """(1, T, symbols)."""
    return torch.randn(1, frames, SYMBOLS, generator=torch.Generator().manual_seed(seed)).log_softmax(dim=-1)


def way(scores: Tensor, text: list[int], **options: object) -> list[int]:
    lengths = torch.tensor([scores.shape[1]]), torch.tensor([len(text)])
    return align_phonemes(scores, torch.tensor([text]), *lengths, **options)[0].tolist()  # type: ignore[arg-type]


def worth(scores: Tensor, text: list[int], path: tuple[int, ...]) -> float:
    total = 0.0
    for t, s in enumerate(path):
        pace = t * (len(text) - 1) / (scores.shape[1] - 1)
        total += max(float(scores[0, t, text[s]]), MIN_LOG_PROB) - DIAGONAL_WEIGHT * ((pace - s) / len(text)) ** 2
    return total


@pytest.mark.parametrize("seed", range(20))
def test_the_way_is_the_best_of_all_that_go_through_every_phoneme(seed: int) -> None:
    text, frames = [3, 1, 3, 7], 8
    scores = heard(frames, seed)
    cuts = itertools.combinations(range(1, frames), len(text) - 1)
    every = [tuple(sum(t >= cut for cut in cut_set) for t in range(frames)) for cut_set in cuts]
    assert tuple(way(scores, text)) == max(every, key=lambda path: worth(scores, text, path))


def test_a_row_of_a_batch_goes_the_way_that_it_goes_alone() -> None:
    rows = [(heard(30, 1), [1, 2, 3, 4, 5]), (heard(17, 2), [6, 2, 8])]
    scores = torch.zeros(2, 30, SYMBOLS)
    text = torch.zeros(2, 5, dtype=torch.long)
    for i, (row, phonemes) in enumerate(rows):
        scores[i, : row.shape[1]] = row[0]
        text[i, : len(phonemes)] = torch.tensor(phonemes)
    together = align_phonemes(scores, text, torch.tensor([30, 17]), torch.tensor([5, 3]))
    for i, (row, phonemes) in enumerate(rows):
        assert together[i, : row.shape[1]].tolist() == way(row, phonemes)


def test_phonemes_that_were_never_heard_are_spoken_at_an_even_pace() -> None:
    path = way(torch.full((1, 40, SYMBOLS), -30.0), [1, 2, 3, 4])
    lasting = [path.count(phone) for phone in range(4)]
    assert sum(lasting) == 40
    assert max(lasting) - min(lasting) <= 8


def test_the_beginning_of_a_sentence_may_end_anywhere() -> None:
    text, spoken = [1, 2, 3, 4, 5, 6], [1] * 5 + [2] * 6 + [3] * 4
    scores = torch.full((1, len(spoken), SYMBOLS), -6.0)
    for t, phone in enumerate(spoken):
        scores[0, t, phone] = -0.1
    assert way(scores, text, whole=False) == [phone - 1 for phone in spoken]
    later = way(scores[:, 8:], text, begin=1, whole=False)
    assert later == [phone - 1 for phone in spoken[8:]]


def test_the_beginning_of_a_sentence_does_not_hurry_through_a_word_to_a_sound_like_its_silence() -> None:
    text = [1, 2, 3, 4, 5, 6]
    scores = torch.full((1, 12, SYMBOLS), -3.0)
    scores[0, :, 6] = -1.0  # what is silent resembles the last phoneme more than the first
    assert way(scores, text, whole=False)[:9] == [0, 1, 1, 2, 2, 3, 3, 4, 4]
    scores[0, :6, 1] = -1.5
    scores[0, 6:8, 2] = -0.1
    assert way(scores, text, whole=False)[:8] == [0] * 6 + [1, 1]


def test_more_phonemes_than_frames_are_spread_over_them() -> None:
    assert way(heard(3), [1, 2, 3, 4, 5, 6]) == [0, 2, 4]
    assert way(heard(3), [1, 2, 3, 4, 5, 6], begin=2) == [2, 3, 4]


def test_noise_spares_some_rows_and_never_leaves_the_codebook() -> None:
    torch.manual_seed(0)
    quantizer = Quantizer(8, 64).eval()
    quantizer.codebook.embed.copy_(torch.randn(64, 8))
    codes = torch.randint(64, (1, 50, 100))
    noisy = TokenNoise(quantizer, 0.6)(codes)
    wrong = (noisy != codes)[0].float().mean(dim=1)
    assert int(noisy.min()) >= 0
    assert int(noisy.max()) < 64
    assert float(wrong.min()) < 0.1
    assert 0.2 < float(wrong.mean()) < 0.4
    assert torch.equal(TokenNoise(quantizer, 0.0)(codes), codes)
