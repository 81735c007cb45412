from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from GPT_SoVITS.synthesis.length_batching import buckets, consecutive, restore

LENGTHS = st.lists(st.integers(1, 80), max_size=20)
SIZES = st.integers(1, 8)


@given(lengths=LENGTHS, size=SIZES, threshold=st.floats(0.1, 1.0), compat=st.sampled_from([None, "reference"]))
def test_every_sentence_is_in_one_batch_and_none_is_too_large(lengths, size, threshold, compat):
    batches = buckets(lengths, size, threshold=threshold, compat=compat)

    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= size for batch in batches)


@given(lengths=LENGTHS, size=SIZES, threshold=st.floats(0.1, 1.0))
def test_no_batch_is_padding_for_more_than_the_threshold_lets(lengths, size, threshold):
    for batch in buckets(lengths, size, threshold=threshold):
        inside = [lengths[i] for i in batch]

        assert len(batch) == 1 or sum(inside) >= threshold * len(inside) * max(inside) * (1 - 1e-9)


@given(lengths=LENGTHS, size=SIZES)
def test_batches_go_from_short_to_long(lengths, size):
    order = [lengths[i] for batch in buckets(lengths, size) for i in batch]

    assert order == sorted(lengths)


@given(lengths=LENGTHS, size=SIZES)
def test_what_was_made_in_batches_comes_back_in_order(lengths, size):
    for batches in (buckets(lengths, size), consecutive(len(lengths), size)):
        made = [[f"sentence {i}" for i in batch] for batch in batches]

        assert restore(batches, made) == [f"sentence {i}" for i in range(len(lengths))]


@given(count=st.integers(0, 40), size=SIZES)
def test_consecutive_batches_keep_the_order_and_are_full_but_for_the_last(count, size):
    batches = consecutive(count, size)

    assert [i for batch in batches for i in batch] == list(range(count))
    assert all(len(batch) == size for batch in batches[:-1])


def test_a_long_sentence_is_not_padded_onto_short_ones_as_the_original_does():
    lengths = [5, 54]

    assert buckets(lengths, 2) == [[0], [1]]
    assert buckets(lengths, 2, compat="reference") == [[0, 1]]


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(ValueError, match="batch of 0"):
        buckets([1, 2], 0)
    with pytest.raises(ValueError, match="batch of 0"):
        consecutive(2, 0)


def test_a_batch_that_lost_a_sentence_is_noticed():
    with pytest.raises(ValueError, match="zip"):
        restore([[0, 1]], [["only one"]])
