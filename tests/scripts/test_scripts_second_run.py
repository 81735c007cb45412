"""`scripts/test` runs a few tests that failed once more, alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "test"
FAILS_ONCE = """
from pathlib import Path

def test_that_fails_the_first_time(request):
    seen = Path(__file__).with_suffix(".seen")
    again = seen.exists()
    seen.touch()
    assert again
"""
FAILS = "def test_that_fails(): raise AssertionError\n"


def write_program(file: Path, line: str) -> None:
    file.write_text(f"#!/bin/sh\n{line}\n")
    file.chmod(0o755)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "status"),
    [
        pytest.param([FAILS_ONCE], 0, id="the first time"),
        pytest.param([FAILS], 1, id="both times"),
        pytest.param([FAILS_ONCE] * 6, 1, id="six"),
    ],
)
def test_a_test_counts_as_failed_that_fails_twice_or_with_many_others(tmp_path: Path, files: list[str], status: int):
    (tmp_path / "scripts").mkdir()
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / "pytest.ini").touch()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    write_program(tmp_path / "scripts/setup", "")  # everything is installed
    write_program(tmp_path / ".venv/bin/python", f'exec "{sys.executable}" "$@"')
    for number, content in enumerate(files):
        (tmp_path / f"test_{number}.py").write_text(content)

    run = subprocess.run([tmp_path / "scripts/test"], capture_output=True, text=True, check=False)

    assert run.returncode == status, run.stdout + run.stderr
    assert ("Once more, alone:" in run.stdout) == (len(files) == 1)
