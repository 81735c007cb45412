"""A training that is cut off from the queue saves its state and goes on from there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_stage import until
from training_experiments import TrainingExperiments, saved

from benchmarks.chaos.fault_proxy import FaultProxy
from core.jobs.job import JobStatus
from core.redis_server import EmbeddedServer
from core.settings import read_settings
from core.stages.status import StageStatus
from roles.runtime.services import WorkerServices
from roles.runtime.worker import Worker
from roles.trainer import Trainer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

STEPS = 12
"""Of an epoch."""
HELD_AT = 18
"""A step in the middle of the second epoch."""


@pytest.fixture
def proxy(server: EmbeddedServer) -> Iterator[FaultProxy]:
    with FaultProxy.to(server.url) as proxy:
        yield proxy


@pytest.fixture
def services(server: EmbeddedServer, proxy: FaultProxy, tmp_path: Path) -> Iterator[WorkerServices]:
    """With a queue behind the proxy, and leases of a second."""
    settings = read_settings(
        data_path=tmp_path, redis_prefix=f"{tmp_path.name}:", evaluation_sentences=0, lease_seconds=1
    )
    services = WorkerServices(settings, proxy.through(server.url))
    yield services
    services.close()


@pytest.fixture
def trained(services: WorkerServices, monkeypatch: pytest.MonkeyPatch) -> TrainingExperiments:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setattr("common.programs.PROGRAMS", ("held_training",))
    monkeypatch.setattr("roles.training.train.TRAINING", "held_training")
    return TrainingExperiments(services)


@pytest.fixture
def worker(trained: TrainingExperiments, services: WorkerServices) -> Iterator[Worker]:
    """Run a trainer in a thread."""
    worker = Worker(Trainer(), services, f"trainer-test-{services.settings.redis_prefix}")
    worker.role.start(services)
    thread = threading.Thread(target=worker.run)
    thread.start()
    yield worker
    worker.drain()
    thread.join(30)
    assert not thread.is_alive()


def test_a_training_cut_off_from_redis_saves_its_state_and_goes_on_uncounted(
    trained: TrainingExperiments,
    worker: Worker,
    proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level("INFO")
    monkeypatch.setenv("TEST_HOLD_AT_STEP", str(HELD_AT))  # it goes on only when it is asked to save
    exp_id = trained.experiment()
    job_id = trained.train(exp_id)
    trained.until(exp_id, saved(1))

    proxy.disconnect()
    monkeypatch.setenv("TEST_HOLD_AT_STEP", "0")
    until(lambda: "Asking the training to save its state" in caplog.text)
    proxy.restore()
    ended = trained.end(job_id)

    assert ended.status is JobStatus.DONE
    assert (ended.attempts, ended.rescues) == (0, 0)
    assert trained.record(exp_id).status is StageStatus.COMPLETED
    assert "the job saves its state" in caplog.text
    steps = [line for line in trained.curve(exp_id).splitlines() if line]
    assert len(steps) == 3 * STEPS  # none was taken twice, none was left out
