"""What a stage needs and clients of the tasks service do not know runs by itself before it."""

from __future__ import annotations

import pytest
from experiment_support import BEFORE_TRAINING, complete, complete_run
from placeholder_weights import install_version

from core.errors import ErrorData, InvalidRequest, JobCancelled
from core.experiments.requests import ExperimentRequest
from core.jobs.job import JobStatus
from core.jobs.roles import PREPROCESSOR
from core.records import ExperimentRecord
from core.stages.status import StageStatus

SILENT: ErrorData = {
    "code": "silent_recording",
    "message": "Nothing is audible in the recording.",
    "hint": "Upload another.",
}


@pytest.fixture
async def experiment(service) -> ExperimentRecord:
    return await service.create(ExperimentRequest("bob", "file-1", version="nano", language="en"))


async def statuses(records, experiment: ExperimentRecord, *stages: str) -> list[str]:
    return [(await records.stages.get(experiment.id, stage)).status for stage in stages]


async def test_the_recording_is_converted_before_it_is_cut(service, worker, records, experiment):
    cut = await service.stages.run(experiment.id, "audio_slice")

    lease = worker.claim(PREPROCESSOR, "worker-1")
    assert lease.job.payload["stage"] == "convert"
    assert worker.claim(PREPROCESSOR, "worker-2") is None
    await complete_run(service, await records.stages.get(experiment.id, "convert"))
    worker.ack(lease, {})

    assert worker.claim(PREPROCESSOR, "worker-2").job.id == cut.job_id
    assert (await service.runs.start(experiment.id, "audio_slice", cut.run)).record.status is StageStatus.RUNNING


async def test_what_is_converted_already_is_not_converted_again(service, experiment):
    await complete(service, experiment.id, "convert", "audio_slice")

    again = await service.stages.run(experiment.id, "audio_slice")

    assert again.message == "Waiting for a worker."


async def test_cancelling_the_stage_takes_along_what_was_begun_for_it(service, records, experiment):
    await service.stages.run(experiment.id, "audio_slice")

    await service.stages.cancel(experiment.id, "audio_slice")

    assert await statuses(records, experiment, "convert", "audio_slice") == ["cancelled", "cancelled"]
    assert await service.jobs.queue.depths() == await service.jobs.queue.depths() | {"preprocessor": 0, "delayed": 0}
    await service.delete(experiment.id)


async def test_what_another_stage_waits_for_goes_on(service, records, experiment):
    await complete(service, experiment.id, "convert", "audio_slice")
    await complete_run(service, await service.stages.run(experiment.id, "denoise", {"enabled": True}))
    await complete(service, experiment.id, "audio_slice")
    await service.stages.run(experiment.id, "asr")
    await service.stages.run(experiment.id, "hubert_feature")

    await service.stages.cancel(experiment.id, "asr")

    assert await statuses(records, experiment, "denoise", "asr", "hubert_feature") == ["queued", "cancelled", "queued"]


async def test_cancelling_what_a_stage_waits_for_cancels_the_stage(service, records, experiment):
    await service.stages.run(experiment.id, "audio_slice")

    await service.stages.cancel(experiment.id, "convert")

    assert await statuses(records, experiment, "convert", "audio_slice") == ["cancelled", "cancelled"]


async def test_the_stage_fails_with_the_reason_of_what_it_waits_for(service, worker, records, experiment):
    cut = await service.stages.run(experiment.id, "audio_slice")
    lease = worker.claim(PREPROCESSOR, "worker-1")
    await service.runs.start(experiment.id, "convert", 1)

    worker.fail(lease, SILENT, permanent=True)  # the records learn of it later
    assert worker.claim(PREPROCESSOR, "worker-2").job.id == cut.job_id
    with pytest.raises(JobCancelled):
        await service.runs.start(experiment.id, "audio_slice", cut.run)
    await service.reconciler.reconcile()

    failed = [await records.stages.get(experiment.id, stage) for stage in ("convert", "audio_slice")]
    assert [run.status for run in failed] == ["failed", "failed"]
    assert [run.message for run in failed] == [SILENT["message"]] * 2


async def test_a_failure_that_is_recorded_first_ends_the_waiting_stage_too(service, records, experiment):
    cut = await service.stages.run(experiment.id, "audio_slice")
    await service.runs.start(experiment.id, "convert", 1)

    await service.runs.fail(experiment.id, "convert", 1, SILENT)

    assert (await records.stages.get(experiment.id, "audio_slice")).error == SILENT
    assert (await service.jobs.queue.job(cut.job_id)).status is JobStatus.CANCELLED


async def test_a_stage_waits_as_well_after_redis_was_lost(service, queue, records, experiment):
    cut = await service.stages.run(experiment.id, "audio_slice")
    await queue.transport.client.flushall()

    await service.reconciler.reconcile()

    assert (await queue.job(cut.job_id)).pending_dependencies == 1
    assert (await queue.job(f"{experiment.id}.convert.1")).status is JobStatus.WAITING


async def test_what_is_needed_before_a_prerequisite_is_named(service, versions):
    install_version(versions.folder, "v2Pro")
    experiment = await service.create(ExperimentRequest("bob", "file-1", version="v2Pro", language="en"))
    await complete(service, experiment.id, *BEFORE_TRAINING)
    async with service.records.experiments.transaction(experiment.id) as transaction:
        transaction.set_stage("audio_slice", status=StageStatus.CANCELLED)

    with pytest.raises(InvalidRequest) as rejected:
        await service.stages.run(experiment.id, "sovits_train")

    assert rejected.value.detail == "依赖阶段未完成: audio_slice"


async def test_a_client_of_the_eleven_steps_runs_every_step_itself(service):
    experiment = await service.create_without_source(ExperimentRequest("bob", version="nano", language="en"))

    with pytest.raises(InvalidRequest, match="audio_slice needs convert first"):
        await service.stages.run(experiment.id, "audio_slice")
