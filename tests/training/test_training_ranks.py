"""Processes that train together add up all gradients, and of those that fail the cause is reported, once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.repository import REPOSITORY

TESTS = Path(__file__).parent
START = """
import sys
from GPT_SoVITS.training.ranks import run_ranks
sys.exit(run_ranks([sys.executable, *sys.argv[2:]], int(sys.argv[1])))
"""


def run_together(size: int, *command: str | Path, before: str = "") -> subprocess.CompletedProcess[bytes]:
    """Run so many processes of a Python program as those of a training; `before` is code that comes first."""
    return subprocess.run(
        [sys.executable, "-c", before + START, str(size), *map(str, command)],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("ranks", "message"),
    [
        ("waits forever,out_of_memory", "There is no room."),
        ("loses its peer,breaks", "It broke."),
        ("aborts,breaks", "It broke."),
        ("loses its peer,is killed", "Process 2 of the 2 that train together was killed by SIGKILL."),
        ("aborts,loses its peer,is killed", "Process 3 of the 3 that train together was killed by SIGKILL."),
    ],
)
def test_the_cause_is_reported_and_nothing_that_came_of_it(tmp_path: Path, ranks: str, message: str) -> None:
    program = run_together(len(ranks.split(",")), TESTS / "toy_rank.py", ranks, tmp_path)

    events = [json.loads(line) for line in program.stdout.splitlines()]
    errors = [event for event in events if event["event"] == "error"]
    assert program.returncode == 1
    assert [error["message"] for error in errors] == [message]
    assert not {"at", "trace"} & errors[0].keys()


def test_what_a_library_prints_is_logged_and_no_event(tmp_path: Path) -> None:
    program = run_together(2, TESTS / "toy_rank.py", "prints,prints", tmp_path)

    assert program.returncode == 0
    assert [json.loads(line) for line in program.stdout.splitlines()] == [{"event": "progress", "step": 1}]
    assert program.stderr.count(b"NCCL version 2\n") == 2


def test_a_stop_before_the_first_process_is_there_is_not_lost(tmp_path: Path) -> None:
    early_stop = """
import os, signal
from GPT_SoVITS.training import ranks
start = ranks._Ranks.start
def start_late(*arguments):
    os.kill(os.getpid(), signal.SIGTERM)
    start(*arguments)
ranks._Ranks.start = start_late
"""
    program = run_together(1, TESTS / "toy_rank.py", "waits forever", tmp_path, before=early_stop)

    assert program.returncode == 75, program.stderr.decode()


def test_a_gradient_that_one_process_lacks_mixes_no_sums() -> None:
    program = run_together(2, TESTS / "reducing_rank.py")

    sums = [json.loads(line)["sums"] for line in program.stdout.splitlines()]
    assert program.returncode == 0, program.stderr.decode()
    assert sums == [[[2.0] * 3, [20.0] * 3, [200.0] * 3], [[2.0] * 3, [10.0] * 3, [200.0] * 3]]
