"""Whatever dies between the records and the queue is mended."""

from __future__ import annotations

import pytest

from core.errors import QueueUnavailable
from core.experiments.requests import ExperimentRequest, TaskRequest
from core.jobs.job import JobStatus
from core.jobs.roles import PREPROCESSOR, TRAINER
from core.records import NewCheckpointRecord, TaskStatus
from core.stages.status import StageStatus

ERROR = {"code": "no_speech", "message": "Nobody speaks.", "hint": "Record again."}


async def test_where_nothing_is_wrong_nothing_is_mended(service):
    await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))

    assert await service.reconciler.reconcile() == 0


async def test_a_task_whose_maker_died_before_the_queue_knew_is_enqueued(service, queue, redis):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    await redis.flushall()

    assert await service.reconciler.reconcile() == 1
    assert await service.reconciler.reconcile() == 0

    assert (await queue.depths())[PREPROCESSOR] == 1
    job = await queue.job(f"{task.exp_id}.convert.1")
    assert job is not None
    assert job.topic == task.id


async def test_losing_the_whole_redis_loses_no_task(service, queue, redis):
    for _ in range(250):
        await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    await redis.flushall()

    assert await service.reconciler.reconcile() == 250

    assert (await queue.depths())[PREPROCESSOR] == 250


async def test_a_scheduled_task_keeps_its_time(service, queue, redis, clock):
    task = await service.tasks.create(
        TaskRequest("bob", "file-1", version="nano", language="en", schedule_at=clock() + 3600)
    )
    await redis.flushall()

    await service.reconciler.reconcile()

    job = await queue.job(f"{task.exp_id}.convert.1")
    assert job is not None
    assert job.status is JobStatus.DELAYED


async def test_a_running_stage_that_redis_forgot_is_interrupted_and_goes_on(service, worker, records, redis):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    await service.runs.start(task.exp_id, "convert", 1)
    await redis.flushall()

    await service.reconciler.reconcile()

    assert (await records.tasks.get(task.id)).status is TaskStatus.INTERRUPTED
    assert worker.claim(PREPROCESSOR, "worker-2") is not None
    await service.runs.start(task.exp_id, "convert", 1)
    assert (await records.tasks.get(task.id)).status is TaskStatus.RUNNING


async def test_a_stage_whose_worker_drained_is_interrupted(service, worker, records):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    lease = worker.claim(PREPROCESSOR, "worker-1")
    await service.runs.start(task.exp_id, "convert", 1)
    worker.release(lease)

    await service.reconciler.reconcile()

    shown = await records.tasks.get(task.id)
    assert (shown.status, shown.message) == (TaskStatus.INTERRUPTED, "Interrupted; a worker will go on.")
    assert await service.reconciler.reconcile() == 0


async def test_a_stage_that_is_tried_again_says_why(service, worker, records):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    lease = worker.claim(PREPROCESSOR, "worker-1")
    await service.runs.start(task.exp_id, "convert", 1)
    worker.fail(lease, ERROR)

    await service.reconciler.reconcile()

    assert (await records.tasks.get(task.id)).message == "Trying again after an error: Nobody speaks."


async def test_a_dead_job_fails_its_stage_and_task_with_its_error(service, worker, records, queue):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    lease = worker.claim(PREPROCESSOR, "worker-1")
    await service.runs.start(task.exp_id, "convert", 1)
    worker.fail(lease, ERROR, permanent=True)

    await service.reconciler.reconcile()

    failed = await records.tasks.get(task.id)
    assert (failed.status, failed.error_message) == (TaskStatus.FAILED, "Nobody speaks.")
    assert (await records.stages.get(task.exp_id, "convert")).status is StageStatus.FAILED
    assert (await queue.event_history(task.id))[-1].kind == "failed"
    assert await service.reconciler.reconcile() == 0


async def test_a_job_that_died_before_its_stage_started_fails_it_too(service, worker, records):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    worker.fail(worker.claim(PREPROCESSOR, "worker-1"), ERROR, permanent=True)

    await service.reconciler.reconcile()

    assert (await records.tasks.get(task.id)).status is TaskStatus.FAILED


async def test_a_job_cancelled_by_hand_cancels_its_task(service, records, queue):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    await queue.cancel(f"{task.exp_id}.convert.1")

    await service.reconciler.reconcile()

    assert (await records.tasks.get(task.id)).status is TaskStatus.CANCELLED
    assert (await records.stages.get(task.exp_id, "convert")).status is StageStatus.CANCELLED
    assert (await queue.event_history(task.id))[-1].kind == "cancelled"


async def test_a_result_that_the_records_missed_is_taken_from_the_job(service, worker, records, queue):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    lease = worker.claim(PREPROCESSOR, "worker-1")
    await service.runs.start(task.exp_id, "convert", 1)
    worker.ack(lease, {"files": 1})

    await service.reconciler.reconcile()

    assert (await records.stages.get(task.exp_id, "convert")).outputs == {"files": 1}
    assert await queue.job(f"{task.exp_id}.audio_slice.1") is not None


async def test_a_stage_completed_while_the_queue_was_away_is_followed_by_the_next(
    service, worker, service_without_queue, queue
):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    lease = worker.claim(PREPROCESSOR, "worker-1")
    await service.runs.start(task.exp_id, "convert", 1)
    await service_without_queue.runs.complete(task.exp_id, "convert", 1, {})
    worker.ack(lease, {})
    assert await queue.job(f"{task.exp_id}.audio_slice.1") is None

    await service.reconciler.reconcile()

    assert await queue.job(f"{task.exp_id}.audio_slice.1") is not None


async def test_a_task_left_between_two_stages_is_moved_on(service, records, queue):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    await service.runs.start(task.exp_id, "convert", 1)
    async with records.experiments.transaction(task.exp_id) as change:
        change.set_stage("convert", status=StageStatus.COMPLETED)

    assert await service.reconciler.reconcile() == 1

    assert await queue.job(f"{task.exp_id}.audio_slice.1") is not None


async def test_a_finished_task_without_a_voice_gets_it(service, records):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    await service.runs.start(task.exp_id, "convert", 1)
    prompt = {"audio": "experiments/prompts/prompt.wav", "text": "Hello.", "language": "en"}
    outputs = {"asr": {"prompt": prompt}}
    for kind in ("sovits", "gpt"):
        await records.checkpoints.create(
            NewCheckpointRecord(id=f"ckpt-{kind}", kind=kind, version="nano", sha256="0" * 64, size_bytes=1)
        )
        outputs[f"{kind}_train"] = {"checkpoint_id": f"ckpt-{kind}"}
    async with records.experiments.transaction(task.exp_id) as change:
        for stage in await records.stages.of_experiment(task.exp_id):
            if stage.stage != "test_inference":
                change.set_stage(stage.stage, status=StageStatus.COMPLETED, run=1, outputs=outputs.get(stage.stage, {}))

    await service.reconciler.reconcile()

    assert (await records.tasks.get(task.id)).voice_id == (await records.voices.get("bob")).id


async def test_without_the_queue_nothing_is_changed(service, service_without_queue, records):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    await service.runs.start(task.exp_id, "convert", 1)

    with pytest.raises(QueueUnavailable):
        await service_without_queue.reconciler.reconcile()

    assert (await records.tasks.get(task.id)).status is TaskStatus.RUNNING


async def test_an_expert_stage_that_redis_forgot_is_enqueued_again(service, worker, redis):
    experiment = await service.create(ExperimentRequest("bob", "file-1", version="nano", language="en"))
    await service.stages.run(experiment.id, "convert")
    await redis.flushall()

    assert await service.reconciler.reconcile() == 1

    assert worker.claim(TRAINER, "worker-1") is None
    assert worker.claim(PREPROCESSOR, "worker-1") is not None
