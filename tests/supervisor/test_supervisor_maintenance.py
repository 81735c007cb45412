"""Jobs keep moving when workers die and when Redis is away."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from core.errors import QueueUnavailable
from core.jobs.job import JobStatus, RescuedJob
from supervisor import maintenance as maintenance_module
from supervisor.maintenance import Maintenance


@dataclass
class Worker:
    id: str
    host: str
    pid: int


@dataclass
class FakeQueue:
    """Return what the test says, and remember the workers whose jobs were requeued."""

    rescued: list[RescuedJob] = field(default_factory=list)
    present: list[Worker] = field(default_factory=list)
    away: int = 0
    """How many calls find it away."""
    requeued: list[str] = field(default_factory=list)
    handed_back: list[str] = field(default_factory=list)
    """Workers whose jobs went back without a count."""

    async def rescue_worker(self, worker_id: str) -> list[RescuedJob]:
        self._answer()
        self.requeued.append(worker_id)
        return self.rescued

    async def reconcile(self, worker_id: str) -> int:
        self._answer()
        self.handed_back.append(worker_id)
        return 1

    async def reap(self) -> list[RescuedJob]:
        self._answer()
        return self.rescued

    async def promote(self) -> int:
        return 0

    async def workers(self) -> list[Worker]:
        return self.present

    async def forget_worker(self, worker_id: str) -> None:
        self._answer()

    def _answer(self) -> None:
        if self.away:
            self.away -= 1
            raise QueueUnavailable("The queue cannot be used now.")


class FakeExperiments:
    def __init__(self) -> None:
        self.reconciled = asyncio.Event()
        self.reconciler = self.retention = self

    async def reconcile(self) -> int:
        self.reconciled.set()
        return 0

    async def clean(self, policy: object) -> int:
        return 0


def make(queue: FakeQueue) -> tuple[Maintenance, FakeExperiments]:
    experiments: Any = FakeExperiments()
    anything: Any = queue
    return Maintenance(anything, experiments), experiments


def rescued(status: JobStatus) -> RescuedJob:
    return RescuedJob("job-1", "trainer", status, "task-1")


async def test_a_poisonous_job_fails_its_stage_at_once():
    maintenance, experiments = make(FakeQueue(rescued=[rescued(JobStatus.DEAD)]))

    await maintenance.reap()

    assert experiments.reconciled.is_set()


async def test_a_rescued_job_that_waits_again_fails_nothing(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    maintenance, experiments = make(FakeQueue(rescued=[rescued(JobStatus.WAITING)]))

    await maintenance.reap()

    assert not experiments.reconciled.is_set()
    assert "Recovered 1 pending tasks from processing queue." in caplog.text


@pytest.mark.parametrize("crashed", [True, False])
async def test_the_jobs_of_an_ended_worker_go_back_as_soon_as_the_queue_is_there_again(crashed: bool):
    queue = FakeQueue(away=2)
    maintenance, _ = make(queue)
    requeueing, *others = maintenance.loops()
    for other in others:
        other.close()

    await asyncio.wait_for(maintenance.requeue_jobs_of("trainer-host-1-c0ffee", crashed=crashed), 60)
    at_first = [*queue.requeued, *queue.handed_back]
    loop = asyncio.create_task(requeueing)
    async with asyncio.timeout(60):
        while not (queue.requeued if crashed else queue.handed_back):  # noqa: ASYNC110  # a list has no event
            await asyncio.sleep(0.01)
    loop.cancel()

    assert at_first == []
    assert (queue.requeued, queue.handed_back) == (
        (["trainer-host-1-c0ffee"], []) if crashed else ([], ["trainer-host-1-c0ffee"])
    )


async def test_only_dead_workers_of_this_host_lose_their_jobs_at_the_start():
    here = os.uname().nodename
    queue = FakeQueue(
        present=[
            Worker("splitter-here-1-dead0001", here, 2**22 + 1),
            Worker("splitter-here-2-dead0002", here, os.getpid()),  # the pid came again, the nonce did not
            Worker("splitter-there-3-beef0003", "elsewhere", 2**22 + 1),
        ]
    )
    maintenance, _ = make(queue)

    await maintenance.recover()

    assert queue.requeued == ["splitter-here-1-dead0001", "splitter-here-2-dead0002"]


async def test_a_periodic_action_survives_failures_and_logs_them_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    monkeypatch.setattr(maintenance_module, "REAP_SECONDS", 0.0)
    queue = FakeQueue(away=3)
    maintenance, _ = make(queue)
    requeueing, reap, *others = maintenance.loops()
    for other in (requeueing, *others):
        other.close()
    reaping = asyncio.create_task(reap)

    async with asyncio.timeout(5):
        while "Reaping works again." not in caplog.text:  # noqa: ASYNC110  # a log line has no event
            await asyncio.sleep(0.01)

    assert caplog.text.count("Reaping waits for the queue") == 1
    reaping.cancel()
    with suppress(asyncio.CancelledError):
        await reaping
