"""Two processes train what one process would; what happens to one of them happens to all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from process_children import children_of
from process_end import wait_for_end

from common.repository import REPOSITORY
from GPT_SoVITS.checkpoints.checkpoint_files import load_checkpoint
from GPT_SoVITS.gpt.trainer import GPTTrainer
from GPT_SoVITS.gpt.training_config import GPTTrainingConfig

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STEADY = {"update_every": 3, "learning_rate": 0.001, "layer_dropout": 0.0, "final_rate_factor": 1.0}
"""Without dropout, and at a rate that does not depend on the number of epochs."""
STEPS = 4
"""Of an epoch."""
MANY = 2000
"""Epochs of a training that will be stopped, however late the signal comes."""
END_SECONDS = 60.0


@contextmanager
def running(plan: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the training program, in a process group of its own."""
    program = subprocess.Popen(
        [sys.executable, "-m", "GPT_SoVITS.train", str(plan)],
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield program
    finally:
        if program.poll() is None:
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()
        assert program.stdout is not None
        program.stdout.close()


def events_of(program: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    assert program.stdout is not None
    return map(json.loads, program.stdout)


def until_step(program: subprocess.Popen[bytes], step: int) -> None:
    """Wait for a step of a training."""
    for event in events_of(program):
        assert event["event"] != "error", event
        if event["event"] == "progress" and event["step"] >= step:
            return
    raise AssertionError("The training ended before.")


def ranks_of(program: subprocess.Popen[bytes]) -> dict[int, int]:
    """Return the pid of each rank."""
    ranks = {}
    for pid in children_of(program.pid):
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        ranks[int(next(entry for entry in environment if entry.startswith(b"RANK="))[5:])] = pid
    return ranks


def curve(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_learn_what_one_does_from_twice_the_batch_also_when_they_are_stopped(plan_file, tmp_path):
    with running(plan_file(output="parts", batch_size=12, processes=2, epochs=MANY, train=STEADY)) as program:
        until_step(program, 2)
        program.send_signal(signal.SIGTERM)
        for _ in events_of(program):
            pass
        assert program.wait(END_SECONDS) == 75
    stopped_at = len(curve(tmp_path / "parts"))
    epochs = stopped_at // STEPS + 2
    for output in ("parts", "whole"):
        plan = plan_file(output=output, batch_size=12, processes=2, epochs=epochs, train=STEADY)
        with running(plan) as program:
            events = [event["event"] for event in events_of(program)]
            assert program.wait(END_SECONDS) == 0
        assert events.count("done") == 1, "one process reports"
        assert "begins_anew" not in events
    alone = GPTTrainingConfig.read(plan_file(output="alone", batch_size=24, epochs=epochs, train=STEADY))
    GPTTrainer(alone, lambda *_, **__: None, threading.Event()).fit()

    curves = {name: curve(tmp_path / name) for name in ("alone", "whole", "parts")}
    assert len(curves["alone"]) == epochs * STEPS > stopped_at
    for line, whole, parts in zip(curves["alone"], curves["whole"], curves["parts"], strict=True):
        assert whole == pytest.approx(line, rel=1e-4)
        assert parts == pytest.approx(whole, rel=1e-4)
    weights = {name: load_checkpoint(tmp_path / name / f"gpt-e{epochs}.safetensors").state for name in curves}
    for name, tensor in weights["alone"].items():
        if not name.endswith("in_proj_bias"):  # whose middle third is rounding (specification s1-gpt §9.4)
            for other in ("whole", "parts"):
                assert (weights[other][name] - tensor).abs().max() <= 2e-3 * tensor.abs().max(), name


def test_a_request_to_end_early_reaches_all_processes(plan_file):
    with running(plan_file(processes=2, epochs=MANY, save_every_epoch=MANY)) as program:
        until_step(program, 1)
        program.send_signal(signal.SIGUSR1)
        last = list(events_of(program))[-1]
        assert program.wait(END_SECONDS) == 0

    assert last["event"] == "done"
    assert last["metrics"]["epochs"] < MANY


def test_a_killed_process_ends_the_others_with_one_error(plan_file):
    with running(plan_file(processes=2, epochs=MANY, save_every_epoch=MANY)) as program:
        until_step(program, 1)
        ranks = ranks_of(program)
        os.kill(ranks[1], signal.SIGKILL)
        errors = [event for event in events_of(program) if event["event"] == "error"]
        assert program.wait(END_SECONDS) == 1

    assert sorted(ranks) == [0, 1]
    assert all(wait_for_end(pid) for pid in ranks.values())
    assert [(error["code"], error["message"], error["permanent"]) for error in errors] == [
        ("training_failed", "Process 2 of the 2 that train together was killed by SIGKILL.", False)
    ]


def test_no_process_outlives_the_one_that_started_it(plan_file):
    with running(plan_file(processes=2, epochs=MANY, save_every_epoch=MANY)) as program:
        until_step(program, 1)
        ranks = ranks_of(program)
        program.kill()

        assert len(ranks) == 2
        assert all(wait_for_end(pid, END_SECONDS) for pid in ranks.values())
