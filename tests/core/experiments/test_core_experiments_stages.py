"""Expert mode: single stages, run again, paused, resumed and cancelled."""

from __future__ import annotations

import pytest
from experiment_support import BEFORE_TRAINING, complete

from core.errors import Conflict, InvalidParameter, InvalidRequest, JobCancelled, NotFound, QueueUnavailable
from core.experiments.requests import ExperimentRequest, TaskRequest
from core.experiments.service import ExperimentService
from core.jobs.job import JobStatus, LeaseStatus
from core.jobs.roles import PREPROCESSOR, TRAINER
from core.records import ExperimentRecord, ExperimentStatus, NewCheckpointRecord
from core.stages.status import StageStatus


@pytest.fixture
async def experiment(service: ExperimentService) -> ExperimentRecord:
    return await service.create(ExperimentRequest("bob", "file-1", version="nano", language="en"))


async def test_nothing_runs_until_a_stage_is_asked_for(service, queue, experiment):
    assert experiment.status is ExperimentStatus.CREATED
    assert (await queue.depths())[PREPROCESSOR] == 0

    run = await service.stages.run(experiment.id, "convert")

    assert (run.status, run.run, run.job_id) == (StageStatus.QUEUED, 1, f"{experiment.id}.convert.1")
    assert (await queue.depths())[PREPROCESSOR] == 1


async def test_a_stage_goes_by_its_other_name(service, experiment):
    assert (await service.stages.run(experiment.id, "convert_audio")).stage == "convert"


async def test_an_experiment_needs_a_file_that_exists(service):
    with pytest.raises(NotFound, match="file-9"):
        await service.create(ExperimentRequest("bob", "file-9"))


async def test_unmet_needs_are_named(service, experiment):
    with pytest.raises(InvalidRequest, match="needs text_feature, semantic_token first") as caught:
        await service.stages.run(experiment.id, "gpt_train")

    assert caught.value.details == {"unmet": ["text_feature", "semantic_token"]}


async def test_a_stage_of_another_version_is_refused(service, experiment):
    with pytest.raises(InvalidRequest, match="nano has no speaker_vector"):
        await service.stages.run(experiment.id, "speaker_vector")


async def test_an_unknown_parameter_is_refused_and_changes_nothing(service, records, experiment):
    with pytest.raises(InvalidParameter, match="'speed'"):
        await service.stages.run(experiment.id, "convert", {"speed": 2})

    assert (await records.stages.get(experiment.id, "convert")).status is StageStatus.PENDING


async def test_given_parameters_win_over_the_experiments_and_those_over_the_defaults(service, experiment):
    await complete(service, experiment.id, "convert", "audio_slice")

    first = await service.stages.run(experiment.id, "asr")

    assert (first.config["language"], first.config["precision"]) == ("en", "auto")
    await service.stages.cancel(experiment.id, "asr")
    second = await service.stages.run(experiment.id, "asr", {"language": "zh"})
    assert second.config["language"] == "zh"


async def test_a_stage_under_way_is_not_started_twice(service, experiment):
    await service.stages.run(experiment.id, "convert")

    with pytest.raises(Conflict, match="queued already"):
        await service.stages.run(experiment.id, "convert")


async def test_running_a_completed_stage_again_makes_what_follows_stale(service, records, experiment):
    await complete(service, experiment.id, *BEFORE_TRAINING, "gpt_train")

    again = await service.stages.run(experiment.id, "asr")

    assert again.run == 2
    assert again.previous_run is not None
    assert (again.previous_run["run"], again.previous_run["outputs"]) == (1, {"stage": "asr"})
    assert again.previous_run["completed_at"] is not None
    statuses = {run.stage: run.status for run in await records.stages.of_experiment(experiment.id)}
    assert statuses["text_feature"] is statuses["gpt_train"] is StageStatus.STALE
    assert statuses["semantic_token"] is StageStatus.COMPLETED
    with pytest.raises(InvalidRequest, match="text_feature"):
        await service.stages.run(experiment.id, "sovits_train")


async def test_nothing_follows_by_itself(service, queue, experiment):
    await complete(service, experiment.id, "convert")

    assert await queue.job(f"{experiment.id}.audio_slice.1") is None


async def test_the_stages_of_a_task_under_way_are_its_own(service):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))

    with pytest.raises(Conflict, match=task.id):
        await service.stages.run(task.exp_id, "convert")
    with pytest.raises(Conflict, match=task.id):
        await service.stages.cancel(task.exp_id, "convert")


async def test_a_stage_of_an_ended_task_can_be_run_by_an_expert(service, records):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    await service.tasks.cancel(task.id)

    await complete(service, task.exp_id, "convert")

    assert (await records.stages.get(task.exp_id, "convert")).status is StageStatus.COMPLETED
    assert (await records.tasks.get(task.id)).status == "cancelled"


async def test_without_the_queue_a_stage_is_refused_and_does_not_start_later(
    service, service_without_queue, records, experiment
):
    with pytest.raises(QueueUnavailable):
        await service_without_queue.stages.run(experiment.id, "convert")

    assert (await records.stages.get(experiment.id, "convert")).status is StageStatus.FAILED
    assert await service.reconciler.reconcile() == 0
    assert (await service.stages.run(experiment.id, "convert")).run == 2


async def test_a_cancelled_stage_stops_its_worker(service, worker, experiment):
    await service.stages.run(experiment.id, "convert")
    lease = worker.claim(PREPROCESSOR, "worker-1")
    await service.runs.start(experiment.id, "convert", 1)

    cancelled = await service.stages.cancel(experiment.id, "convert")

    assert cancelled.status is StageStatus.CANCELLED
    assert worker.renew_lease(lease) is LeaseStatus.CANCEL
    with pytest.raises(JobCancelled):
        await service.runs.complete(experiment.id, "convert", 1, {})


async def test_what_does_not_run_cannot_be_cancelled(service, experiment):
    with pytest.raises(Conflict, match="pending"):
        await service.stages.cancel(experiment.id, "convert")


async def test_a_training_that_is_asked_to_pause_learns_it_and_resumes_in_its_folder(service, records, experiment):
    await complete(service, experiment.id, *BEFORE_TRAINING)
    await service.stages.run(experiment.id, "gpt_train", {"total_epoch": 3})
    await service.runs.start(experiment.id, "gpt_train", 1)
    assert await service.runs.requested_control(experiment.id, "gpt_train", 1) == ""

    await service.stages.control(experiment.id, "gpt_train", "pause")
    assert await service.runs.requested_control(experiment.id, "gpt_train", 1) == "pause"
    await service.runs.pause(experiment.id, "gpt_train", 1)
    paused = await records.stages.get(experiment.id, "gpt_train")
    assert (paused.status, paused.control) == (StageStatus.PAUSED, "")

    resumed = await service.stages.control(experiment.id, "gpt_train", "resume")

    assert (resumed.run, resumed.work_run, resumed.status) == (2, 1, StageStatus.QUEUED)
    assert resumed.config["total_epoch"] == 3


async def test_a_training_that_waits_pauses_at_once(service, queue, experiment):
    await complete(service, experiment.id, *BEFORE_TRAINING)
    run = await service.stages.run(experiment.id, "gpt_train")

    paused = await service.stages.control(experiment.id, "gpt_train", "pause")

    assert paused.status is StageStatus.PAUSED
    job = await queue.job(run.job_id)
    assert job is not None
    assert job.status is JobStatus.CANCELLED
    assert await service.reconciler.reconcile() == 0
    assert (await service.stages.control(experiment.id, "gpt_train", "resume")).run == 2


@pytest.mark.parametrize("action", ["pause", "resume", "stop_after_epoch"])
async def test_a_stage_that_never_ran_cannot_be_controlled(service, experiment, action):
    with pytest.raises(Conflict, match="pending"):
        await service.stages.control(experiment.id, "gpt_train", action)


async def test_an_unknown_action_is_answered_with_those_there_are(service, experiment):
    with pytest.raises(InvalidRequest) as caught:
        await service.stages.control(experiment.id, "gpt_train", "rewind")

    assert "stop_after_epoch" in caught.value.hint


async def test_both_models_trained_make_a_voice_on_request(service, records, experiment, storage):
    await complete(service, experiment.id, "convert", "audio_slice")
    prompt = {"audio": "experiments/prompts/prompt.wav", "text": "Hello.", "language": "en"}
    await complete(service, experiment.id, "asr", outputs={"prompt": prompt})
    await complete(service, experiment.id, "text_feature", "hubert_feature", "semantic_token")
    for kind in ("sovits", "gpt"):
        await records.checkpoints.create(
            NewCheckpointRecord(id=f"ckpt-{kind}", kind=kind, version="nano", sha256="0" * 64, size_bytes=1)
        )
        await complete(service, experiment.id, f"{kind}_train", outputs={"checkpoint_id": f"ckpt-{kind}"})
    assert (await records.experiments.get(experiment.id)).status is ExperimentStatus.COMPLETED

    voice = await service.voices.publish(experiment.id, name="robert")
    again = await service.voices.publish(experiment.id, name="robert")

    assert voice == again
    assert voice.name == "robert"
    await service.delete(experiment.id)
    assert storage.exists(voice.prompt["audio"])
    assert (await records.voices.get("robert")).gpt_checkpoint_id == "ckpt-gpt"


async def test_a_voice_needs_both_models(service, experiment):
    with pytest.raises(Conflict, match="gpt_train"):
        await service.voices.publish(experiment.id)


async def test_deleting_an_experiment_deletes_its_files(service, records, storage, experiment):
    storage.put_bytes(f"experiments/{experiment.id}/5-wav32k/a.wav", b"sound")

    await service.delete(experiment.id)

    assert not storage.exists(f"experiments/{experiment.id}/5-wav32k/a.wav")
    with pytest.raises(NotFound):
        await records.experiments.get(experiment.id)


async def test_a_job_of_a_deleted_experiment_is_nobodys(service, worker, experiment):
    await service.stages.run(experiment.id, "convert")
    lease = worker.claim(PREPROCESSOR, "worker-1")
    await service.stages.cancel(experiment.id, "convert")
    worker.confirm_cancel(lease)
    await service.delete(experiment.id)

    with pytest.raises(JobCancelled, match="deleted"):
        await service.runs.start(experiment.id, "convert", 1)

    assert worker.claim(TRAINER, "worker-1") is None
