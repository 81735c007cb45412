from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from GPT_SoVITS.synthesis.sola import SEARCH, best_offset, crossfade, join


def noise(samples: int, seed: int) -> torch.Tensor:
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed))


@given(
    lengths=st.lists(st.integers(SEARCH + 200, SEARCH + 600), min_size=1, max_size=5),
    overlap=st.integers(0, 100),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_every_sample_of_a_join_is_accounted_for(lengths, overlap, seed):
    fragments = [noise(length, seed + i) for i, length in enumerate(lengths)]

    joined = join(fragments, overlap)

    begins, dropped = [0], [0, *joined.offsets]
    for length, offset in zip(lengths, dropped, strict=True):
        begins.append(begins[-1] + length - offset - overlap)
    assert joined.starts == begins[:-1]
    assert len(joined.wave) == begins[-1] + overlap


@given(
    shifts=st.lists(st.integers(0, SEARCH), min_size=1, max_size=3),
    overlap=st.integers(64, 300),
    seed=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_pieces_of_one_wave_become_that_wave_again(shifts, overlap, seed):
    wave, piece = noise(5000, seed), 1200
    fragments, end = [wave[:piece]], piece
    for shift in shifts:  # each begins `shift` samples before the overlap does
        start = end - overlap - shift
        fragments.append(wave[start : start + piece])
        end = start + piece

    joined = join(fragments, overlap)

    assert joined.offsets == shifts
    assert torch.allclose(joined.wave, wave[:end], atol=1e-6)


@given(value=st.floats(-1, 1, width=32), overlap=st.integers(1, 100))
@settings(max_examples=30, deadline=None)
def test_the_weights_of_a_crossfade_sum_to_one(value, overlap):
    faded = crossfade(torch.full((overlap,), value), torch.full((overlap + 10,), value))

    assert torch.allclose(faded, torch.full_like(faded, value), atol=1e-6)


def test_a_crossfade_begins_with_the_earlier_wave_and_ends_with_the_later():
    faded = crossfade(torch.ones(100), torch.zeros(110))

    assert faded[0] == 1
    assert (faded[:100].diff() < 0).all()
    assert not faded[100:].any()


def test_every_joint_may_have_its_own_overlap():
    wave = noise(3000, 5)
    fragments = [wave[:1000], wave[900:2000], wave[1850:]]

    joined = join(fragments, [100, 150])

    assert joined.offsets == [0, 0]
    assert joined.starts == [0, 900, 1850]
    assert torch.allclose(joined.wave, wave, atol=1e-6)


def test_one_overlap_for_two_joints_is_refused_as_a_list():
    with pytest.raises(ValueError, match="zip"):
        join([noise(100, i) for i in range(3)], [10])


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5), overlap=st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_a_fragment_shorter_than_the_overlap_is_joined_all_the_same(lengths, overlap):
    fragments = [noise(length, i) for i, length in enumerate(lengths)]

    joined = join(fragments, overlap)

    kept = sum(lengths) - sum(joined.offsets)
    assert kept - overlap * (len(lengths) - 1) <= len(joined.wave) <= kept
    assert joined.starts == sorted(joined.starts)
    assert torch.isfinite(joined.wave).all()


def test_no_overlap_puts_waves_end_to_end():
    joined = join([noise(5, 1), noise(7, 2)], 0)

    assert joined.offsets == [0]
    assert torch.equal(joined.wave, torch.cat([noise(5, 1), noise(7, 2)]))


def test_the_search_ends_where_the_later_wave_does():
    tail = noise(50, 1)
    later = torch.cat([torch.zeros(30), tail])

    assert best_offset(tail, later) == 30
    assert best_offset(tail, later[:-1]) <= 29
