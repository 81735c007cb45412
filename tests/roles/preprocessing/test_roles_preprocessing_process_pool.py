"""The files of a stage processed by real processes: one result, one progress, one end."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from toy_pool_worker import Die, Divide, Hang, Reject, ReportEnvironment, Square

from common.operating_system import is_alive
from core.errors import InvalidRequest, JobCancelled, SovitsError, StageFailed
from core.jobs.worker_process import GPUS
from roles.preprocessing import process_pool
from roles.preprocessing.process_pool import WorkerPlacement, process_files, worker_placements
from roles.runtime.model_cache import ModelCache

PROGRAM = (sys.executable, str(Path(__file__).with_name("toy_pool_worker.py")))


@dataclass
class Run:
    """What `process_files` uses of a stage run."""

    folder: Path
    config: dict[str, Any] = field(default_factory=lambda: {"n_parts": 3})
    gpu_numbers: str = "0"
    device: str = "cpu"
    threads: int = 3
    stage: str = "hubert_feature"
    progress_events: list[tuple[float, str]] = field(default_factory=list)
    on_progress: Callable[[], None] = lambda: None
    stopped: SovitsError | None = None
    callbacks: list[Callable[[], object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.experiment = SimpleNamespace(gpu_numbers=self.gpu_numbers)
        self.services = SimpleNamespace(device=self.device, threads=self.threads)
        self.context = SimpleNamespace(check=self.check, on_stop=self.callbacks.append)
        self.models = ModelCache()

    def check(self) -> None:
        if self.stopped is not None:
            raise self.stopped

    def progress(self, fraction: float, message: str) -> None:
        self.check()
        self.progress_events.append((fraction, message))
        self.on_progress()

    def cancel(self) -> None:
        self.stopped = JobCancelled("The job was cancelled.")
        for callback in self.callbacks:
            callback()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(process_pool, "_PROGRAM", PROGRAM)
    return Run(tmp_path)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.txt" for number in range(7)]
    for number, path in enumerate(paths):
        path.write_text(str(number))
    return paths


def test_every_file_is_done_once_and_the_answers_come_in_order(run, files):
    answers = process_files(run, Square(), files, verb="Squared")

    assert [answer["square"] for answer in answers] == [number**2 for number in range(7)]
    processes = [answer["pid"] for answer in answers]
    assert len(set(processes)) == 3
    assert os.getpid() not in processes
    assert processes[:3] == processes[3:6], "the files are dealt out in turns"


def test_progress_is_that_of_all_processes_together(run, files):
    process_files(run, Square(), files, verb="Squared")

    assert run.progress_events == [(done / 7, f"Squared {done} of 7 segments.") for done in range(1, 8)]


def test_a_process_that_dies_fails_the_stage_with_its_reason_and_ends_the_others(run, files):
    with pytest.raises(StageFailed, match=r"Process 2 of 3 for hubert_feature was killed by SIGKILL") as failure:
        process_files(run, Die(str(run.folder / "pids"), at="4"), files, verb="Did")

    assert failure.value.hint
    check_that_nothing_runs(run)


def test_a_process_that_falls_over_tells_its_last_words(run, files):
    with pytest.raises(StageFailed, match=r"ended with exit code 1: ZeroDivisionError: division by zero"):
        process_files(run, Divide(), files, verb="Divided")


def test_what_a_model_refuses_is_told_as_it_was_meant(run, files):
    with pytest.raises(InvalidRequest, match="No model can do this") as refusal:
        process_files(run, Reject(), files, verb="Refused")

    assert refusal.value.hint == "Ask for something else."


def test_a_cancel_ends_every_process_at_once(run, files):
    begun = threading.Event()
    run.on_progress = begun.set

    def cancel() -> None:
        begun.wait(30)
        run.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(JobCancelled):
        process_files(run, Hang(str(run.folder / "pids"), on="6"), files, verb="Hung")
    canceller.join()

    check_that_nothing_runs(run)


def test_a_single_file_or_core_needs_no_other_process(run, files):
    run.config["n_parts"] = 64

    assert len(worker_placements(run, 1)) == 1
    run.services.threads = 1
    assert worker_placements(run, 7) == [WorkerPlacement(1)]
    run.services.threads = 5
    assert worker_placements(run, 7) == [WorkerPlacement(1)] * 5


@pytest.mark.parametrize(
    ("numbers", "used"), [("0-1-2", ["GPU-a", "GPU-b", "GPU-c"]), ("2-0-2", ["GPU-c", "GPU-a"]), ("0-7", []), ("1", [])]
)
def test_several_gpus_have_a_process_each_and_one_none(tmp_path, monkeypatch, numbers, used):
    monkeypatch.setenv(GPUS, "0=GPU-a,1=GPU-b,2=GPU-c")
    run = Run(tmp_path, device="cuda", gpu_numbers=numbers, threads=6)

    places = worker_placements(run, 100)

    assert [place.gpu for place in places if place.gpu] == used
    assert sum(place.threads for place in places) <= 6


def test_a_process_sees_its_own_gpu_and_computes_within_its_threads(run, files, monkeypatch):
    monkeypatch.setenv(GPUS, "0=GPU-a,1=GPU-b")
    run.services.device, run.experiment.gpu_numbers = "cuda", "0-1"

    answers = process_files(run, ReportEnvironment(), files, verb="Saw")

    assert [answer["gpu"] for answer in answers[:2]] == ["GPU-a", "GPU-b"]
    assert {answer["threads"] for answer in answers} == {"1"}


def check_that_nothing_runs(run: Run) -> None:
    pids = [int(pid) for pid in (run.folder / "pids").read_text().split()]
    assert pids
    assert not any(is_alive(pid, mark="toy_pool_worker") for pid in pids)
