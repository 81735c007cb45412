"""Trainings of the model service that wait too long for their turn."""

from __future__ import annotations

from dataclasses import replace

from manual_clock import ManualClock

from core.experiments.model_versions import ModelVersions
from core.experiments.requests import TaskRequest
from core.experiments.service import ExperimentService
from core.jobs.events import Events
from core.jobs.queue import AsyncQueue
from core.records import Records, TaskStatus

LIMIT = 3600.0


async def test_what_waits_longer_than_the_limit_fails_and_its_job_is_cancelled(
    records: Records, queue: AsyncQueue, events: Events, versions: ModelVersions
) -> None:
    clock = ManualClock()
    service = ExperimentService(records, queue, events, versions=versions, clock=clock)
    of_service = TaskRequest("bob", "file-1", version="nano", labels={"save_path": "models/bob"})
    waiting = await service.tasks.create(of_service)
    quick = await service.tasks.create(TaskRequest("bob", "file-1", version="nano"))
    clock.now += LIMIT - 1
    later = await service.tasks.create(of_service)
    scheduled = await service.tasks.create(replace(of_service, schedule_at=clock.now + 7200))
    early = await service.waiting_limit.enforce(LIMIT)

    clock.now += 2
    unlimited = await service.waiting_limit.enforce(0)
    ended = await service.waiting_limit.enforce(LIMIT)

    task = await records.tasks.get(waiting.id)
    job = await queue.job(f"{waiting.exp_id}.convert.1")
    others = [await records.tasks.get(other.id) for other in (quick, later, scheduled)]
    assert (early, unlimited, ended) == (0, 0, 1)
    assert (task.status, task.error_message) == (
        TaskStatus.FAILED,
        "convert waited 3600 s for its turn, which is the limit.",
    )
    assert job is not None
    assert job.status == "cancelled"
    assert {other.status for other in others} == {TaskStatus.QUEUED}
