"""Loading ahead of time changes when something is loaded, and nothing else."""

from __future__ import annotations

import threading

import pytest

from GPT_SoVITS.training.prefetch import Prefetcher


def test_each_piece_is_loaded_once_and_the_next_one_in_another_thread():
    loaded = []

    def load(work: list[int]) -> int:
        loaded.append((work[0], threading.current_thread() is threading.main_thread()))
        return 10 * work[0]

    works = [[1], [2], [3]]
    ahead = Prefetcher(load)

    results = [ahead(work, following) for work, following in zip(works, [*works[1:], None], strict=True)]

    assert results == [10, 20, 30]
    assert loaded == [(1, True), (2, False), (3, False)]


def test_work_that_was_not_announced_is_loaded_all_the_same():
    ahead = Prefetcher(lambda work: work[0])
    ahead([1], [2])

    assert ahead([7]) == 7


def test_what_fails_to_load_fails_where_it_is_asked_for():
    ahead, zero = Prefetcher(lambda work: 1 // work[0]), [0]

    assert ahead([1], zero) == 1
    with pytest.raises(ZeroDivisionError):
        ahead(zero)
