"""What keeps jobs moving when things are away."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from core.errors import QueueUnavailable
from core.jobs.job import JobStatus
from core.jobs.queue import Rescued
from supervisor import maintenance as upkeep_module
from supervisor.maintenance import Upkeep


@dataclass
class Worker:
    id: str
    host: str
    pid: int


@dataclass
class FakeQueue:
    """Answers what the test says, and remembers what it was asked."""

    rescued: list[Rescued] = field(default_factory=list)
    present: list[Worker] = field(default_factory=list)
    away: int = 0
    """How many calls find it away."""
    buried: list[str] = field(default_factory=list)

    async def rescue_worker(self, worker_id: str) -> list[Rescued]:
        self._answer()
        self.buried.append(worker_id)
        return self.rescued

    async def reap(self) -> list[Rescued]:
        self._answer()
        return self.rescued

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


def make(queue: FakeQueue) -> tuple[Upkeep, FakeExperiments]:
    experiments: Any = FakeExperiments()
    anything: Any = queue
    return Upkeep(anything, experiments), experiments


def rescued(status: JobStatus) -> Rescued:
    return Rescued("job-1", "trainer", status, "task-1")


async def test_a_poisonous_job_fails_its_stage_at_once():
    upkeep, experiments = make(FakeQueue(rescued=[rescued(JobStatus.DEAD)]))

    await upkeep.reap()

    assert experiments.reconciled.is_set()


async def test_a_rescued_job_that_waits_again_fails_nothing(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    upkeep, experiments = make(FakeQueue(rescued=[rescued(JobStatus.WAITING)]))

    await upkeep.reap()

    assert not experiments.reconciled.is_set()
    assert "Recovered 1 pending tasks from processing queue." in caplog.text


async def test_a_burial_waits_for_a_queue_that_is_away():
    queue = FakeQueue(away=2)
    upkeep, _ = make(queue)

    await upkeep.bury("trainer-host-1-c0ffee")

    assert queue.buried[-1] == "trainer-host-1-c0ffee"


async def test_a_burial_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr(upkeep_module, "BURIAL_SECONDS", 0.0)
    upkeep, _ = make(FakeQueue(away=1000))

    await asyncio.wait_for(upkeep.bury("trainer-host-1-c0ffee"), 5)

    assert "wait for their leases to end" in caplog.text


async def test_only_the_dead_of_this_host_are_buried_at_the_start():
    here = os.uname().nodename
    queue = FakeQueue(
        present=[
            Worker("splitter-here-1-dead0001", here, 2**22 + 1),
            Worker("splitter-here-2-dead0002", here, os.getpid()),  # the pid came again, the nonce did not
            Worker("splitter-there-3-beef0003", "elsewhere", 2**22 + 1),
        ]
    )
    upkeep, _ = make(queue)

    await upkeep.recover()

    assert queue.buried == ["splitter-here-1-dead0001", "splitter-here-2-dead0002"]


async def test_a_loop_outlives_what_goes_wrong_and_tells_it_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("INFO")
    monkeypatch.setattr(upkeep_module, "REAP_SECONDS", 0.0)
    queue = FakeQueue(away=3)
    upkeep, _ = make(queue)
    reap, *others = upkeep.loops()
    for other in others:
        other.close()
    reaping = asyncio.create_task(reap)

    async with asyncio.timeout(5):
        while "Reaping works again." not in caplog.text:  # noqa: ASYNC110  # a log line has no event
            await asyncio.sleep(0.01)

    assert caplog.text.count("Reaping waits for the queue") == 1
    reaping.cancel()
    with suppress(asyncio.CancelledError):
        await reaping
