from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from GPT_SoVITS.synthesis.length_batching import batch_by_length, restore_order

LENGTHS = st.lists(st.integers(1, 80), max_size=20)
SIZES = st.integers(1, 8)


@given(lengths=LENGTHS, size=SIZES, min_fill=st.floats(0.1, 1.0))
def test_every_sentence_is_in_one_batch_and_none_is_too_large(lengths, size, min_fill):
    batches = batch_by_length(lengths, size, min_fill=min_fill)

    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= size for batch in batches)


@given(lengths=LENGTHS, size=SIZES, min_fill=st.floats(0.1, 1.0))
def test_no_batch_is_padding_for_more_than_the_min_fill_lets(lengths, size, min_fill):
    for batch in batch_by_length(lengths, size, min_fill=min_fill):
        inside = [lengths[i] for i in batch]

        assert len(batch) == 1 or sum(inside) >= min_fill * len(inside) * max(inside) * (1 - 1e-9)


@given(lengths=LENGTHS, size=SIZES)
def test_batches_go_from_short_to_long(lengths, size):
    order = [lengths[i] for batch in batch_by_length(lengths, size) for i in batch]

    assert order == sorted(lengths)


@given(lengths=LENGTHS, size=SIZES)
def test_what_was_made_in_batches_comes_back_in_order(lengths, size):
    batches = batch_by_length(lengths, size)

    results = [[f"sentence {i}" for i in batch] for batch in batches]

    assert restore_order(batches, results) == [f"sentence {i}" for i in range(len(lengths))]


def test_short_sentences_are_not_padded_to_a_long_one_as_upstream_does():
    assert batch_by_length([5, 54], 2) == [[0], [1]]


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(ValueError, match="batch of 0"):
        batch_by_length([1, 2], 0)


def test_a_batch_that_lost_a_sentence_is_noticed():
    with pytest.raises(ValueError, match="zip"):
        restore_order([[0, 1]], [["only one"]])
