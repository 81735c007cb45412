"""Of several processes that fail together, the one that the others followed is reported, once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.repository import REPOSITORY

TOY = Path(__file__).parent / "toy_rank.py"
START = f"""
import sys
from GPT_SoVITS.training.ranks import run_ranks
sys.exit(run_ranks([sys.executable, {str(TOY)!r}, *sys.argv[1:]], len(sys.argv[1].split(","))))
"""


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
    program = subprocess.run(
        [sys.executable, "-c", START, ranks, str(tmp_path)],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        check=False,
        timeout=120,
    )

    events = [json.loads(line) for line in program.stdout.splitlines()]
    errors = [event for event in events if event["event"] == "error"]
    assert program.returncode == 1
    assert [error["message"] for error in errors] == [message]
    assert not {"at", "trace"} & errors[0].keys()
