"""Small sizes of the large acceptance runs (`scripts/prove NAME`)."""

from __future__ import annotations

from dataclasses import asdict

import orjson
import pytest

from benchmarks.chaos import site_switches
from benchmarks.chaos.accounts import Accounts
from benchmarks.proofs import random_kills, standby, start_race, stream_takeover


@pytest.mark.slow
def test_requests_without_a_key_are_rejected_from_the_first_moment_of_a_start(tmp_path):
    statuses = start_race.run_starts(tmp_path, starts=2)

    assert set(statuses) <= start_race.REJECTED
    assert statuses[401] > 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_after_random_kills_under_load_everything_adds_up(tmp_path):
    for kills in (1, 3):  # a run that was interrupted after the first kill goes on
        accounts = Accounts(tmp_path)
        random_kills.run_kills(tmp_path / "data", accounts, kills, seed=2)

    assert accounts.problems == []
    assert accounts.faults.total() == 3
    assert accounts.done["inferences"] > 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_stream_whose_synthesizer_is_killed_has_the_bytes_of_one_that_is_left_alone(tmp_path):
    earlier = stream_takeover.Takeover(identical=True, gap=1.5, rescued=1)
    (tmp_path / stream_takeover.JOURNAL).write_bytes(orjson.dumps(asdict(earlier)) + b"\n")

    takeovers = stream_takeover.run_kills(tmp_path, kills=2, synthesizers=1, seed=1)

    assert takeovers[0] == earlier  # a run that was interrupted goes on
    assert len(takeovers) == 2
    assert takeovers[1].identical


@pytest.mark.slow
def test_after_random_kills_of_backups_a_restore_has_every_acknowledged_file(tmp_path):
    figures = standby.prove(tmp_path, kills=4, seed=3)

    assert figures["lost"] == []
    assert figures["epochs_with_two_holders"] == 0
    assert int(str(figures["acknowledged"])) > 0
    assert figures["cuts"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_of_two_sites_that_live_one_writes_though_a_switch_is_killed_and_the_other_site_cannot_know(tmp_path):
    figures = site_switches.prove_switches(tmp_path, switches=1, seed=3)

    assert figures["writers_at_once"] == 0
    assert figures["switch_lost"] == []
