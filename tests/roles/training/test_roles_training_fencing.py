"""A training whose worker is stopped or killed writes nothing into the folder of its successor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from daemon_stage import REPOSITORY, until
from process_children import children_of
from process_end import wait_for_end
from training_experiments import TrainingExperiments, saved

from common.files import sha256_of_file
from core.jobs.job import JobStatus
from core.redis_server import EmbeddedServer
from core.settings import read_settings
from roles.runtime.services import WorkerServices

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a program is tied to its worker by the kernel"),
]

HELD_AT = 18
"""A step in the middle of the second epoch."""
STEPS = 12
"""Of an epoch."""
LEASE_SECONDS = 2


@pytest.fixture
def trained(server: EmbeddedServer, tmp_path: Path) -> Iterator[TrainingExperiments]:
    settings = read_settings(
        data_path=tmp_path, redis_prefix=f"{tmp_path.name}:", lease_seconds=LEASE_SECONDS, evaluation_sentences=0
    )
    services = WorkerServices(settings, server.url)
    yield TrainingExperiments(services)
    services.close()


@contextmanager
def trainer(server: EmbeddedServer, trained: TrainingExperiments, hold: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    """Run a trainer, whose trainings wait at the step `hold`, in a process of its own."""
    environment = {
        **os.environ,
        "DATA_PATH": str(trained.settings.data_path),
        "REDIS_URL": server.url,
        "REDIS_PREFIX": trained.settings.redis_prefix,
        "LEASE_SECONDS": str(LEASE_SECONDS),
        "EVALUATION_SENTENCES": "0",
        "PYTHONPATH": str(Path(__file__).parent),
        "SOVITSD_ROLE_CLASSES": "trainer=held_trainer:HeldTrainer",
        "TEST_HOLD_AT_STEP": str(hold),
    }
    process = subprocess.Popen([sys.executable, str(REPOSITORY / "main.py"), "work", "trainer"], env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def program_of(worker: subprocess.Popen[bytes]) -> int:
    """Return the pid of a trainer's program, once it runs."""

    def find() -> int | None:
        children = children_of(worker.pid).items()
        return next((pid for pid, command in children if "-m held_training" in command), None)

    return int(until(find, what="the training program"))


def checksums(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_of_file(path) for path in folder.rglob("*") if path.is_file()}


def test_a_training_whose_worker_is_stopped_or_killed_writes_nothing_into_its_successor_s_folder(server, trained):
    exp_id = trained.experiment()
    folder = trained.folder(exp_id) / "gpt_1"
    job = trained.train(exp_id)
    with trainer(server, trained, HELD_AT) as stopped:
        trained.until(exp_id, saved(1))
        until(lambda: len(trained.curve(exp_id).splitlines()) == HELD_AT, what="the held step")
        orphan, first = program_of(stopped), folder.stat().st_ino
        stopped.send_signal(signal.SIGSTOP)
        until(trained.queue.reap, what="the end of the stopped worker's lease")

        with trainer(server, trained, HELD_AT) as killed:
            program = program_of(killed)
            until(lambda: folder.stat().st_ino != first, what="a folder of its own")
            killed.kill()
            assert wait_for_end(program, 10), "a program ends with its worker"
        until(trained.queue.reap, what="the end of the killed worker's lease")
        with trainer(server, trained):
            ended = trained.end(job)
        before = checksums(folder)

        os.kill(orphan, signal.SIGTERM)  # it takes this for a drain, and saves its state where it works
        assert wait_for_end(orphan, 60)
        assert checksums(folder) == before
        stopped.send_signal(signal.SIGCONT)
        stopped.send_signal(signal.SIGTERM)
        assert stopped.wait(60) == 0

    assert (ended.status, ended.attempts, ended.rescues) == (JobStatus.DONE, 0, 2)
    assert checksums(folder) == before
    assert "resume.pt" not in before
    assert len(trained.curve(exp_id).splitlines()) == 3 * STEPS
    assert not list(folder.parent.glob(".gpt_1*")), "what was replaced is deleted"
