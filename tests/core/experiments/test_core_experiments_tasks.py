"""A task goes from the recording to the voice, through failures and ends of all kinds."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from core.errors import InvalidParameter, InvalidRequest, JobCancelled, NotFound, QueueUnavailable
from core.experiments.requests import TaskRequest
from core.experiments.service import ExperimentService
from core.jobs.job import JobStatus, Lease, LeaseStatus
from core.jobs.queue import Queue
from core.jobs.roles import PREPROCESSOR, TRAINER
from core.records import ExperimentStatus, NewCheckpointRecord, Records, TaskStatus
from core.stages.order import stage_order
from core.stages.status import StageStatus

PROMPT = {"audio": "experiments/prompts/prompt.wav", "text": "Hello.", "language": "en"}
ERROR = {"code": "no_speech", "message": "Nobody speaks.", "hint": "Record again."}


def claim(worker: Queue, role: str = PREPROCESSOR, worker_id: str = "worker-1") -> Lease:
    lease = worker.claim(role, worker_id)
    assert lease is not None, f"no job for the {role}"
    return lease


async def outputs_of(records: Records, exp_id: str, stage: str) -> dict[str, Any]:
    """Return outputs as a role leaves them."""
    if stage == "asr":
        return {"prompt": PROMPT}
    if stage in ("sovits_train", "gpt_train"):
        kind = stage.removesuffix("_train")
        checkpoint = await records.checkpoints.create(
            NewCheckpointRecord(id=f"ckpt-{kind}-{exp_id}", kind=kind, version="nano", sha256="0" * 64, size_bytes=1)
        )
        return {"checkpoint_id": checkpoint.id}
    return {"stage": stage}


async def run_job(service: ExperimentService, worker: Queue, lease: Lease) -> None:
    """Do what a worker does with a job that succeeds."""
    payload = cast(dict[str, Any], lease.job.payload)
    run = (payload["experiment_id"], payload["stage"], payload["run"])
    started = await service.runs.start(*run)
    assert started.completed_outputs is None
    outputs = await outputs_of(service.records, run[0], run[1])
    await service.runs.complete(*run, outputs)
    assert worker.ack(lease, outputs)


async def run_until(service: ExperimentService, worker: Queue, stage: str) -> Lease:
    """Run jobs until one of this stage is claimed; that one is left to the test."""
    while True:
        lease = worker.claim(PREPROCESSOR, "worker-1") or worker.claim(TRAINER, "worker-1")
        assert lease is not None, f"{stage} never came"
        if lease.job.payload["stage"] == stage:
            return lease
        await run_job(service, worker, lease)


async def run_all(service: ExperimentService, worker: Queue) -> None:
    for role in (PREPROCESSOR, TRAINER):
        while lease := worker.claim(role, "worker-1"):
            await run_job(service, worker, lease)


async def test_a_task_goes_through_every_stage_and_ends_with_a_voice(service, worker, records, storage, queue):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en", quality="fast"))
    assert (task.status, task.current_stage, task.overall_progress) == (TaskStatus.QUEUED, "convert", 0.0)

    await run_all(service, worker)

    task = await records.tasks.get(task.id)
    assert (task.status, task.progress, task.overall_progress) == (TaskStatus.COMPLETED, 1.0, 1.0)
    assert task.started_at is not None
    assert task.completed_at is not None
    voice = await records.voices.get("bob")
    assert (voice.id, voice.exp_id, voice.language) == (task.voice_id, task.exp_id, "en")
    assert voice.prompt == {**PROMPT, "name": "default", "audio": f"voices/{voice.id}/prompt.wav"}
    assert storage.path(voice.prompt["audio"]).read_bytes() == b"a prompt"
    experiment = await records.experiments.get(task.exp_id)
    assert (experiment.status, experiment.voice_id) == (ExperimentStatus.COMPLETED, voice.id)
    history = await queue.event_history(task.id)
    assert history[-1].kind == "completed"
    assert history[-1].data["voice_id"] == voice.id
    assert [event.kind for event in history].count("completed") == 1


async def test_overall_progress_never_falls_and_is_told(service, worker, records, queue):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))

    await run_all(service, worker)

    progress = [event.data for event in await queue.event_history(task.id) if event.kind == "progress"]
    overall = [data["overall_progress"] for data in progress]
    assert overall == sorted(overall)
    assert overall[-1] == 1.0
    completed = [data["stage"] for data in progress if data["progress"] == 1.0]
    assert sorted(completed) == sorted(set(stage_order("nano")) - {"denoise"})


async def test_the_quality_and_the_language_reach_the_stages(service, worker, records):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en", quality="fast"))

    await run_all(service, worker)

    stages = {run.stage: run for run in await records.stages.of_experiment(task.exp_id)}
    assert stages["asr"].config["language"] == "en"
    assert stages["sovits_train"].config["total_epoch"] == 4
    assert stages["gpt_train"].config["total_epoch"] == 8
    assert stages["denoise"].outputs == {"skipped": True}
    assert stages["test_inference"].status is StageStatus.PENDING


async def test_both_trainings_wait_for_a_trainer_together(service, worker):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    await run_until(service, worker, "sovits_train")

    lease = claim(worker, TRAINER, "worker-2")

    assert lease.job.id == f"{task.exp_id}.gpt_train.1"
    assert lease.job.topic == task.id


async def test_a_second_voice_of_the_same_name_gets_a_number(service, worker, records):
    for _ in range(2):
        await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    await run_all(service, worker)

    assert sorted(voice.name for voice in (await records.voices.page()).items) == ["bob", "bob-2"]


async def test_the_same_idempotency_key_makes_one_task_and_one_job(service, queue):
    first, second = [
        await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en", idempotency_key="key"))
        for _ in range(2)
    ]

    assert first.id == second.id
    assert (await queue.depths())[PREPROCESSOR] == 1


async def test_the_priority_of_a_task_is_that_of_its_jobs(service, worker):
    await service.tasks.create(TaskRequest("late", "file-1", version="nano", language="en", priority=5))
    urgent = await service.tasks.create(TaskRequest("urgent", "file-1", version="nano", language="en", priority=9))

    assert claim(worker).job.payload["experiment_id"] == urgent.exp_id


async def test_a_scheduled_task_waits_for_its_time(service, worker, queue, clock):
    task = await service.tasks.create(
        TaskRequest("bob", "file-1", version="nano", language="en", schedule_at=clock() + 3600)
    )

    job = await queue.job(f"{task.exp_id}.convert.1")

    assert job is not None
    assert job.status is JobStatus.DELAYED
    assert worker.claim(PREPROCESSOR, "worker-1") is None


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"exp_name": ""}, "exp_name"),
        ({"exp_name": " "}, "exp_name"),
        ({"exp_name": "b" * 101}, "exp_name"),
        ({"version": "v9"}, "v9"),
        ({"language": "klingon"}, "klingon"),
        ({"quality": "best"}, "best"),
        ({"priority": 0}, "priority is 0"),
        ({"priority": 11}, "priority is 11"),
    ],
)
async def test_a_task_that_cannot_be_is_refused_with_what_is_wrong(service, records, values, complaint):
    with pytest.raises(InvalidRequest, match=complaint):
        await service.tasks.create(TaskRequest(**{"exp_name": "bob", "audio_file_id": "file-1"} | values))

    assert (await records.tasks.page()).total == 0


async def test_a_task_of_an_unknown_file_is_refused(service, queue):
    with pytest.raises(NotFound, match="file-9"):
        await service.tasks.create(TaskRequest("bob", "file-9"))

    assert (await queue.depths())[PREPROCESSOR] == 0


async def test_without_the_queue_a_task_is_refused_and_leaves_nothing(service_without_queue, records):
    with pytest.raises(QueueUnavailable):
        await service_without_queue.tasks.create(TaskRequest("bob", "file-1"))

    assert (await records.tasks.page()).total == 0
    assert (await records.experiments.page()).total == 0


async def test_a_cancelled_task_that_waits_never_runs(service, worker, records, queue):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))

    cancelled = await service.tasks.cancel(task.id)

    assert cancelled.status is TaskStatus.CANCELLED
    assert worker.claim(PREPROCESSOR, "worker-1") is None
    assert (await queue.event_history(task.id))[-1].kind == "cancelled"
    assert (await records.experiments.get(task.exp_id)).status is ExperimentStatus.CANCELLED


async def test_cancelling_stops_the_worker_and_keeps_what_is_finished(service, worker, records):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    lease = await run_until(service, worker, "asr")
    await service.runs.start(task.exp_id, "asr", 1)

    await service.tasks.cancel(task.id)

    assert worker.renew_lease(lease) is LeaseStatus.CANCEL
    for late in (
        service.runs.update_progress(task.exp_id, "asr", 1, 0.5),
        service.runs.complete(task.exp_id, "asr", 1, {"prompt": PROMPT}),
        service.runs.start(task.exp_id, "asr", 1),
    ):
        with pytest.raises(JobCancelled):
            await late
    await service.runs.fail(task.exp_id, "asr", 1, ERROR)
    assert (await records.tasks.get(task.id)).status is TaskStatus.CANCELLED
    assert (await records.stages.get(task.exp_id, "audio_slice")).status is StageStatus.COMPLETED
    assert (await records.stages.get(task.exp_id, "asr")).outputs == {}


async def test_cancelling_twice_is_told_once(service, queue):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))

    first = await service.tasks.cancel(task.id)
    second = await service.tasks.cancel(task.id)

    assert second == first
    assert [event.kind for event in await queue.event_history(task.id)] == ["cancelled"]


async def test_a_completed_task_cannot_be_cancelled_any_more(service, worker):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    await run_all(service, worker)

    assert (await service.tasks.cancel(task.id)).status is TaskStatus.COMPLETED


async def test_a_failed_stage_fails_its_task_and_stops_the_other_training(service, worker, records, queue):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    lease = await run_until(service, worker, "sovits_train")
    await service.runs.start(task.exp_id, "sovits_train", 1)
    other = claim(worker, TRAINER, "worker-2")
    await service.runs.start(task.exp_id, "gpt_train", 1)

    await service.runs.fail(task.exp_id, "sovits_train", 1, ERROR)
    await service.runs.fail(task.exp_id, "sovits_train", 1, ERROR)

    failed = await records.tasks.get(task.id)
    assert (failed.status, failed.error_message) == (TaskStatus.FAILED, "Nobody speaks.")
    assert failed.error == ERROR
    assert failed.current_stage == "sovits_train"
    assert worker.renew_lease(other) is LeaseStatus.CANCEL
    assert worker.renew_lease(lease) is LeaseStatus.HELD
    assert (await records.stages.get(task.exp_id, "gpt_train")).status is StageStatus.CANCELLED
    history = await queue.event_history(task.id)
    assert history[-1].kind == "failed"
    assert history[-1].data["error"] == ERROR
    assert [event.kind for event in history].count("failed") == 1


async def test_a_replayed_dead_letter_brings_its_task_back_to_life(service, worker, records, queue):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    lease = await run_until(service, worker, "sovits_train")
    await service.runs.start(task.exp_id, "sovits_train", 1)
    worker.fail(lease, ERROR, permanent=True)
    await service.reconciler.reconcile()
    assert (await records.tasks.get(task.id)).status is TaskStatus.FAILED

    assert await queue.replay(lease.job.id)
    again = await run_until(service, worker, "sovits_train")
    await service.runs.start(task.exp_id, "sovits_train", 1)
    revived = await records.tasks.get(task.id)
    assert (revived.status, revived.error, revived.completed_at) == (TaskStatus.RUNNING, None, None)
    await service.runs.complete(task.exp_id, "sovits_train", 1, await outputs_of(records, task.exp_id, "sovits_train"))
    worker.ack(again, {})
    await run_all(service, worker)

    assert (await records.tasks.get(task.id)).status is TaskStatus.COMPLETED
    assert (await records.stages.get(task.exp_id, "gpt_train")).run == 2


async def test_completing_twice_goes_on_once(service, records, queue):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    await service.runs.start(task.exp_id, "convert", 1)

    await service.runs.complete(task.exp_id, "convert", 1, {"files": 1})
    await service.runs.complete(task.exp_id, "convert", 1, {"files": 2})

    assert (await records.stages.get(task.exp_id, "convert")).outputs == {"files": 1}
    assert (await queue.depths())[PREPROCESSOR] == 2  # convert itself and audio_slice


async def test_a_worker_that_died_before_its_ack_has_nothing_left_to_do(service):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    await service.runs.start(task.exp_id, "convert", 1)
    await service.runs.complete(task.exp_id, "convert", 1, {"files": 1})

    again = await service.runs.start(task.exp_id, "convert", 1)

    assert again.completed_outputs == {"files": 1}


async def test_a_started_run_knows_its_experiment_config_and_what_came_before(service, worker):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    await run_until(service, worker, "asr")

    started = await service.runs.start(task.exp_id, "asr", 1)

    assert started.experiment.audio_file_id == "file-1"
    assert started.config["language"] == "en"
    assert started.outputs["audio_slice"] == {"stage": "audio_slice"}
    assert "asr" not in started.outputs


async def test_progress_is_kept_and_answered_for_the_whole(service, worker, records):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    await run_until(service, worker, "sovits_train")
    await service.runs.start(task.exp_id, "sovits_train", 1)

    before = (await records.tasks.get(task.id)).overall_progress
    overall = await service.runs.update_progress(
        task.exp_id, "sovits_train", 1, 0.5, "Epoch 4 of 8.", epoch=4, total_epochs=8, loss=0.41
    )

    shown = await records.tasks.get(task.id)
    assert before < overall < 1
    assert (shown.current_stage, shown.progress, shown.overall_progress) == ("sovits_train", 0.5, overall)
    assert shown.message == "Epoch 4 of 8."
    stage = await records.stages.get(task.exp_id, "sovits_train")
    assert stage.metrics == {"epoch": 4, "total_epochs": 8, "loss": 0.41}


async def test_a_run_of_an_experiment_that_is_gone_is_cancelled(service):
    with pytest.raises(JobCancelled, match="deleted"):
        await service.runs.start("exp-9", "convert", 1)


async def test_a_run_that_is_not_the_newest_is_cancelled(service):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))

    with pytest.raises(JobCancelled, match="not the newest"):
        await service.runs.start(task.exp_id, "convert", 2)


async def test_a_task_whose_voice_cannot_be_made_fails_with_the_reason(service, worker, records, queue):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    await run_until(service, worker, "gpt_train")
    await service.runs.start(task.exp_id, "gpt_train", 1)
    if (await records.stages.get(task.exp_id, "sovits_train")).status.active:
        await service.runs.complete(
            task.exp_id, "sovits_train", 1, await outputs_of(records, task.exp_id, "sovits_train")
        )

    await service.runs.complete(task.exp_id, "gpt_train", 1, {"metrics": {}})

    failed = await records.tasks.get(task.id)
    assert failed.status is TaskStatus.FAILED
    assert "checkpoint_id" in (failed.error_message or "")
    assert (await queue.event_history(task.id))[-1].kind == "failed"


async def test_a_task_whose_prompt_is_gone_fails_with_the_reason(service, worker, records, storage):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    storage.delete(PROMPT["audio"])

    await run_all(service, worker)

    failed = await records.tasks.get(task.id)
    assert (failed.status, failed.voice_id) == (TaskStatus.FAILED, None)
    assert failed.error_message == f"the prompt {PROMPT['audio']} is gone"


async def test_two_processes_that_finish_at_once_make_one_voice(service, worker, records, queue, events, storage):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    await run_until(service, worker, "sovits_train")
    other = ExperimentService(records, queue, events, storage, versions=service.versions)
    for stage in ("sovits_train", "gpt_train"):
        await service.runs.start(task.exp_id, stage, 1)
    outputs = {stage: await outputs_of(records, task.exp_id, stage) for stage in ("sovits_train", "gpt_train")}

    await asyncio.gather(
        service.runs.complete(task.exp_id, "sovits_train", 1, outputs["sovits_train"]),
        other.runs.complete(task.exp_id, "gpt_train", 1, outputs["gpt_train"]),
        service.reconciler.reconcile(),
        other.scheduler.advance(task.exp_id),
    )

    assert (await records.tasks.get(task.id)).status is TaskStatus.COMPLETED
    assert (await records.voices.page()).total == 1
    assert [event.kind for event in await queue.event_history(task.id)].count("completed") == 1


async def test_an_unknown_language_is_named_as_a_parameter(service):
    with pytest.raises(InvalidParameter) as caught:
        await service.tasks.create(TaskRequest("bob", "file-1", language="klingon"))

    assert caught.value.details == {"parameters": ["language"]}
