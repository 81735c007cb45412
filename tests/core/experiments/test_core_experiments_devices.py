"""Where and when stages run, as people asked, through restarts; and that somebody is told of the end."""

from __future__ import annotations

import time
from typing import Any

import pytest
from redis.asyncio import Redis

from core.errors import InvalidParameter, InvalidRequest
from core.experiments.requests import ExperimentRequest, TaskRequest
from core.experiments.service import ExperimentService
from core.jobs.job import JobStatus, WorkerLocation
from core.jobs.queue import AsyncQueue, Queue
from core.records import Records, StageRecord
from core.stages.stage import STAGES
from core.stages.status import StageStatus

LATER = 3600.0
GPU_1 = WorkerLocation("host", "cuda:1", "training")


async def prepared(service: ExperimentService, **options: Any) -> str:
    """Return an experiment whose trainings can begin."""
    experiment = await service.create(ExperimentRequest("bob", "file-1", version="nano", language="en", **options))
    async with service.records.experiments.transaction(experiment.id) as change:
        for name, stage in STAGES.items():
            if stage.role != "trainer" and "nano" in stage.versions:
                change.set_stage(name, status=StageStatus.COMPLETED, run=1, work_run=1)
    return experiment.id


async def device_of(queue: AsyncQueue, run: StageRecord) -> str:
    job = await queue.job(run.job_id)
    assert job is not None
    return job.device


async def test_a_training_goes_where_its_experiment_says(service: ExperimentService, queue: AsyncQueue, worker: Queue):
    exp_id = await prepared(service, device="cuda:1")

    run = await service.stages.run(exp_id, "gpt_train")

    assert worker.claim("trainer", "worker-0", location=WorkerLocation("host", "cuda:0", "training")) is None
    lease = worker.claim("trainer", "worker-1", location=GPU_1)
    assert lease is not None
    assert lease.job.id == run.job_id


async def test_a_stage_may_go_elsewhere_than_its_experiment(service: ExperimentService, queue: AsyncQueue):
    exp_id = await prepared(service, device="cuda:1")

    run = await service.stages.run(exp_id, "gpt_train", device="CPU")

    assert run.device == "cpu"
    assert await device_of(queue, run) == "cpu"


async def test_preparing_is_done_by_whoever_prepares(service: ExperimentService, queue: AsyncQueue):
    experiment = await service.create(
        ExperimentRequest("bob", "file-1", version="nano", language="en", device="cuda:1")
    )

    assert await device_of(queue, await service.stages.run(experiment.id, "convert")) == ""


async def test_gpu_numbers_lead_a_training_to_gpus_that_there_are(service: ExperimentService, queue: AsyncQueue):
    for number in (0, 2):
        await queue.register_worker(f"trainer-{number}", "trainer", "host", number, f"cuda:{number}")
    exp_id = await prepared(service, gpu_numbers="1-2")

    assert await device_of(queue, await service.stages.run(exp_id, "gpt_train")) == "cuda:2"


async def test_without_gpus_gpu_numbers_hold_up_nothing(service: ExperimentService, queue: AsyncQueue):
    await queue.register_worker("trainer-1", "trainer", "host", 1, "cpu")
    exp_id = await prepared(service, gpu_numbers="0-1-2")

    assert await device_of(queue, await service.stages.run(exp_id, "gpt_train")) == ""


async def test_a_device_that_nobody_has_is_refused_before_anything_begins(
    service: ExperimentService, queue: AsyncQueue, records: Records
):
    await queue.register_worker("trainer-1", "trainer", "host", 1, "cpu")
    exp_id = await prepared(service)

    with pytest.raises(InvalidRequest, match="No host has the GPU cuda:3"):
        await service.stages.run(exp_id, "gpt_train", device="cuda:3")
    with pytest.raises(InvalidParameter, match="device is 'gpu'"):
        await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en", device="gpu"))

    assert (await records.stages.get(exp_id, "gpt_train")).status is StageStatus.PENDING
    assert (await records.tasks.page()).total == 0


async def test_a_stage_keeps_its_time_and_place_when_redis_forgets(
    service: ExperimentService, queue: AsyncQueue, redis: Redis
):
    exp_id = await prepared(service)
    run = await service.stages.run(exp_id, "gpt_train", device="cuda:1", schedule_at=time.time() + LATER)
    await redis.flushall()

    await service.reconciler.reconcile()

    job = await queue.job(run.job_id)
    assert job is not None
    assert (job.status, job.device) == (JobStatus.DELAYED, "cuda:1")
    due = await redis.zscore("sovits:delayed", run.job_id)
    assert due == pytest.approx(time.time() + LATER, abs=60)


async def test_a_stage_cancelled_before_its_time_never_begins(
    service: ExperimentService, queue: AsyncQueue, redis: Redis, worker: Queue
):
    exp_id = await prepared(service)
    run = await service.stages.run(exp_id, "gpt_train", schedule_at=time.time() + LATER)

    await service.stages.cancel(exp_id, "gpt_train")
    await queue.promote()

    assert worker.claim("trainer", "worker-1") is None
    assert await redis.zcard("sovits:delayed") == 0
    job = await queue.job(run.job_id)
    assert job is not None
    assert job.status is JobStatus.CANCELLED


async def test_the_end_of_a_task_is_written_down_for_whoever_is_to_be_told(
    service: ExperimentService, records: Records
):
    task = await service.tasks.create(
        TaskRequest("bob", "file-1", version="nano", language="en", webhook_url="http://127.0.0.1:1/hook")
    )

    await service.tasks.cancel(task.id)
    await service.tasks.cancel(task.id)

    (delivery,) = (await records.deliveries.page(subject=task.id)).items
    assert (delivery.event, delivery.url) == ("task.cancelled", "http://127.0.0.1:1/hook")
