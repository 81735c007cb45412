"""Small sizes of the large acceptance runs (`scripts/prove NAME`)."""

from __future__ import annotations

import pytest

from benchmarks.proofs import start_race


@pytest.mark.slow
def test_requests_without_a_key_are_rejected_from_the_first_moment_of_a_start(tmp_path):
    statuses = start_race.run_starts(tmp_path, starts=2)

    assert set(statuses) <= start_race.REJECTED
    assert statuses[401] > 0
