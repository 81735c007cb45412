from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from GPT_SoVITS.synthesis.sola import SEARCH, best_offset, crossfade


def noise(samples: int, seed: int) -> torch.Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed))


@given(shift=st.integers(0, SEARCH), overlap=st.integers(64, 300), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_two_pieces_of_one_wave_become_that_wave_again(shift, overlap, seed):
    wave, joint = noise(3000, seed), 1500
    later = wave[joint - overlap - shift :]  # begins `shift` samples before the overlap does

    offset = best_offset(wave[joint - overlap : joint], later)

    assert offset == shift
    assert torch.allclose(crossfade(wave[joint - overlap : joint], later[offset:]), wave[joint - overlap :], atol=1e-6)


@given(value=st.floats(-1, 1, width=32), overlap=st.integers(1, 100))
@settings(max_examples=30)
def test_the_weights_of_a_crossfade_sum_to_one(value, overlap):
    faded = crossfade(torch.full((overlap,), value), torch.full((overlap + 10,), value))

    assert torch.allclose(faded, torch.full_like(faded, value), atol=1e-6)


def test_a_crossfade_begins_with_the_earlier_wave_and_ends_with_the_later():
    faded = crossfade(torch.ones(100), torch.zeros(110))

    assert faded[0] == 1
    assert (faded[:100].diff() < 0).all()
    assert not faded[100:].any()


def test_the_search_ends_where_the_later_wave_does():
    tail = noise(50, 1)
    later = torch.cat([torch.zeros(30), tail])

    assert best_offset(tail, later) == 30
    assert best_offset(tail, later[:-1]) <= 29
