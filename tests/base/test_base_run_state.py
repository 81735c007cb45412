"""Pause and resume of `scripts/train-base`, and benchmarks that refuse to run beside it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis_servers import wait_until

from scripts.train_base import run_state

REPOSITORY = Path(__file__).parents[2]
STEP = """
import subprocess, sys
from pathlib import Path
from scripts.train_base import run_state
with run_state.running():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print(child.pid, flush=True)
    child.wait()
"""


@pytest.fixture
def step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    """Yield a process that runs a step with a child of its own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(run_state, "FILE", tmp_path / run_state.FILE.name)
    with subprocess.Popen([sys.executable, "-c", STEP], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        yield process
        process.kill()


def bench_check() -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.train_base.run_state"]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)


def test_a_step_is_paused_with_its_children_and_benchmarks_run_only_then(step: subprocess.Popen[str]):
    assert step.stdout is not None
    child = int(step.stdout.readline())
    try:
        assert run_state.running_pid() == step.pid
        assert "trains the base" in bench_check().stderr

        run_state.pause()
        wait_until(lambda: run_state.is_paused(step.pid) and run_state.is_paused(child), "the pause")
        assert bench_check().returncode == 0

        run_state.resume()
        wait_until(lambda: not run_state.is_paused(step.pid) and not run_state.is_paused(child), "the resumption")
        with pytest.raises(SystemExit, match="trains the base already"), run_state.running():
            pass
    finally:
        subprocess.run(["kill", "-9", str(child)], check=False)
    step.wait()
    assert run_state.running_pid() is None
    with pytest.raises(SystemExit, match="No step"):
        run_state.pause()
