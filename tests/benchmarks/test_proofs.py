"""Small sizes of the large acceptance runs (`scripts/prove NAME`)."""

from __future__ import annotations

import pytest

from benchmarks.proofs import random_kills, start_race


@pytest.mark.slow
def test_requests_without_a_key_are_rejected_from_the_first_moment_of_a_start(tmp_path):
    statuses = start_race.run_starts(tmp_path, starts=2)

    assert set(statuses) <= start_race.REJECTED
    assert statuses[401] > 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_after_random_kills_under_load_everything_adds_up(tmp_path):
    killed, load, problems = random_kills.run_kills(tmp_path / "data", kills=3, seed=2)

    assert problems == []
    assert killed.total() == 3
    assert load.done["inferences"] > 0
