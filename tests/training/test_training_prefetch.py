"""Loading ahead of time changes when something is loaded, and nothing else."""

from __future__ import annotations

import threading

import pytest
import torch

from GPT_SoVITS.training.prefetch import ItemLoader, Prefetcher, worker_count


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


def test_several_threads_load_at_the_same_time_and_give_their_items_in_order():
    together = threading.Barrier(4, timeout=60)

    def load(item: int) -> int:
        together.wait()
        return 10 * item

    assert ItemLoader(load, 4)(range(8)) == [0, 10, 20, 30, 40, 50, 60, 70]


@pytest.mark.parametrize("workers", [1, 4])
def test_an_item_that_cannot_be_loaded_raises_its_error(workers):
    with pytest.raises(ZeroDivisionError):
        ItemLoader(lambda item: 1 // item, workers)([3, 0, 1])


def test_a_cpu_that_trains_loads_in_one_thread():
    assert worker_count(torch.device("cpu")) == 1
    assert worker_count(torch.device("cuda")) > 1
