"""A training under control: paused, resumed with what changed, and stages that get in each other's way."""

from __future__ import annotations

import asyncio

import pytest
from experiment_support import BEFORE_TRAINING, complete, complete_run, pause, start
from placeholder_weights import install_version

from core.errors import ConfirmationNeeded, Conflict, InvalidParameter, InvalidRequest, JobCancelled, QueueUnavailable
from core.experiments.requests import ExperimentRequest
from core.jobs.job import JobStatus
from core.jobs.roles import PREPROCESSOR, TRAINER
from core.records import ExperimentRecord, ExperimentStatus
from core.stages.status import StageStatus


@pytest.fixture
async def experiment(service) -> ExperimentRecord:
    """One whose trainings can begin."""
    experiment = await service.create(ExperimentRequest("bob", "file-1", version="nano", language="en"))
    await complete(service, experiment.id, *BEFORE_TRAINING)
    return experiment


async def status(records, experiment, stage):
    return (await records.stages.get(experiment.id, stage)).status


async def test_resuming_with_another_parameter_asks_for_confirmation_by_naming_it(service, records, experiment):
    await pause(service, await start(service, experiment.id, "gpt_train", {"batch_size": 4}))

    with pytest.raises(ConfirmationNeeded, match="batch_size was 4 and is 8") as caught:
        await service.stages.control(experiment.id, "gpt_train", "resume", {"batch_size": 8})

    assert caught.value.details == {"changed": {"batch_size": {"before": 4, "now": 8}}}
    assert await status(records, experiment, "gpt_train") is StageStatus.PAUSED


async def test_what_was_confirmed_goes_on_and_is_remembered(service, experiment):
    run = await start(service, experiment.id, "gpt_train", {"total_epoch": 3})
    await service.runs.update_progress(experiment.id, "gpt_train", 1, 0.5, "Epoch 2 of 3.", epoch=2)
    await pause(service, run)

    resumed = await service.stages.control(experiment.id, "gpt_train", "resume", {"total_epoch": 6}, confirm=True)

    assert (resumed.run, resumed.work_run, resumed.status) == (2, 1, StageStatus.QUEUED)
    assert (resumed.config["total_epoch"], resumed.progress, resumed.metrics["epoch"]) == (6, 0.5, 2)
    assert resumed.changed == {"total_epoch": {"before": 3, "now": 6}}


async def test_running_a_paused_stage_resumes_it(service, experiment):
    await pause(service, await start(service, experiment.id, "gpt_train", {"total_epoch": 3}))

    with pytest.raises(ConfirmationNeeded):
        await service.stages.run(experiment.id, "gpt_train", {"total_epoch": 4})
    resumed = await service.stages.run(experiment.id, "gpt_train")

    assert (resumed.work_run, resumed.config["total_epoch"], resumed.changed) == (1, 3, {})


async def test_another_precision_asks_for_confirmation(service, experiment):
    await pause(service, await start(service, experiment.id, "gpt_train"))
    await service.update(experiment.id, is_half=False)

    with pytest.raises(ConfirmationNeeded, match="is_half was True and is False"):
        await service.stages.control(experiment.id, "gpt_train", "resume")


async def test_data_made_anew_while_a_training_paused_ask_for_confirmation(service, experiment):
    await pause(service, await start(service, experiment.id, "gpt_train"))
    await complete(service, experiment.id, "asr")

    with pytest.raises(InvalidRequest, match="needs text_feature first"):
        await service.stages.control(experiment.id, "gpt_train", "resume")
    await complete(service, experiment.id, "text_feature")
    with pytest.raises(ConfirmationNeeded, match="text_feature was 1 and is 2"):
        await service.stages.control(experiment.id, "gpt_train", "resume")


async def test_a_training_whose_worker_died_before_it_could_pause_is_paused_by_the_next_one(
    service, records, queue, experiment
):
    run = await start(service, experiment.id, "gpt_train")
    await service.stages.control(experiment.id, "gpt_train", "pause")

    with pytest.raises(JobCancelled, match="paused"):
        await service.runs.start(experiment.id, "gpt_train", run.run)

    assert await status(records, experiment, "gpt_train") is StageStatus.PAUSED
    assert (await queue.job(run.job_id)).status is JobStatus.CANCELLED


async def test_a_training_that_should_pause_and_waits_for_a_worker_is_paused_by_the_reconciler(
    service, records, queue, experiment
):
    run = await start(service, experiment.id, "gpt_train")
    await service.stages.control(experiment.id, "gpt_train", "pause")

    await service.reconciler.reconcile()

    paused = await records.stages.get(experiment.id, "gpt_train")
    assert (paused.status, paused.control) == (StageStatus.PAUSED, "")
    assert (await queue.job(run.job_id)).status is JobStatus.CANCELLED
    assert (await records.experiments.get(experiment.id)).status is ExperimentStatus.PAUSED


async def test_without_the_queue_a_paused_training_stays_paused(service_without_queue, service, records, experiment):
    await pause(service, await start(service, experiment.id, "gpt_train"))

    with pytest.raises(QueueUnavailable):
        await service_without_queue.stages.control(experiment.id, "gpt_train", "resume")

    assert await status(records, experiment, "gpt_train") is StageStatus.PAUSED


async def test_a_paused_training_can_be_cancelled(service, records, experiment):
    await pause(service, await start(service, experiment.id, "gpt_train"))

    await service.stages.cancel(experiment.id, "gpt_train")

    assert await status(records, experiment, "gpt_train") is StageStatus.CANCELLED
    assert (await service.stages.run(experiment.id, "gpt_train")).work_run == 2


@pytest.mark.parametrize("action", ["pause", "resume", "stop_after_epoch"])
async def test_only_trainings_take_orders(service, experiment, action):
    with pytest.raises(InvalidRequest, match="asr cannot") as caught:
        await service.stages.control(experiment.id, "asr", action)

    assert "sovits_train, gpt_train" in caught.value.hint


async def test_only_resume_takes_parameters(service, experiment):
    await start(service, experiment.id, "gpt_train")

    with pytest.raises(InvalidRequest, match="pause takes no parameters"):
        await service.stages.control(experiment.id, "gpt_train", "pause", {"batch_size": 1})


async def test_a_training_that_runs_cannot_resume_nor_with_a_parameter_it_does_not_have(service, experiment):
    run = await start(service, experiment.id, "gpt_train")
    with pytest.raises(Conflict, match="only a paused stage can resume"):
        await service.stages.control(experiment.id, "gpt_train", "resume")
    await pause(service, run)

    with pytest.raises(InvalidParameter, match="'speed'"):
        await service.stages.control(experiment.id, "gpt_train", "resume", {"speed": 2})


async def test_an_order_ends_with_its_run(service, records, experiment):
    run = await start(service, experiment.id, "gpt_train")
    await service.stages.control(experiment.id, "gpt_train", "stop_after_epoch")
    assert await service.runs.requested_control(experiment.id, "gpt_train", run.run) == "stop_after_epoch"

    await service.runs.fail(experiment.id, "gpt_train", run.run, {"message": "No."})

    assert (await records.stages.get(experiment.id, "gpt_train")).control == ""


async def test_what_a_running_stage_reads_is_not_made_anew(service, experiment):
    await start(service, experiment.id, "gpt_train")

    with pytest.raises(Conflict, match="gpt_train is running"):
        await service.stages.run(experiment.id, "asr")


async def test_a_stage_waits_for_an_optional_one_that_runs(service, records, experiment):
    denoising = await start(service, experiment.id, "denoise", {"enabled": True})

    run = await service.stages.run(experiment.id, "asr")

    assert (run.status, run.message) == (StageStatus.QUEUED, "Waits for denoise.")
    assert (await service.jobs.queue.job(run.job_id)).pending_dependencies == 1
    await service.stages.cancel(experiment.id, "asr")
    denoise = await records.stages.get(experiment.id, "denoise")
    assert (denoise.run, denoise.status) == (denoising.run, StageStatus.RUNNING)  # it was asked for itself


async def test_a_stale_optional_stage_is_not_passed_over(service, records, experiment):
    await complete_run(service, await service.stages.run(experiment.id, "denoise", {"enabled": True}))
    await complete(service, experiment.id, "asr", "audio_slice")

    run = await service.stages.run(experiment.id, "asr")

    assert run.message == "Waits for denoise."
    assert await status(records, experiment, "denoise") is StageStatus.QUEUED


async def test_what_was_skipped_does_not_become_stale(service, records, experiment):
    await complete(service, experiment.id, "denoise", outputs={"skipped": True})

    await complete(service, experiment.id, "audio_slice")

    assert await status(records, experiment, "denoise") is StageStatus.COMPLETED
    assert await status(records, experiment, "asr") is StageStatus.STALE


async def test_the_pro_family_trains_after_its_speaker_vectors(service, records, versions):
    install_version(versions.folder, "v2Pro")
    experiment = await service.create(ExperimentRequest("bob", "file-1", version="v2Pro", language="en"))
    await complete(service, experiment.id, *BEFORE_TRAINING)

    run = await service.stages.run(experiment.id, "sovits_train")

    assert run.message == "Waits for speaker_vector."
    assert await status(records, experiment, "speaker_vector") is StageStatus.QUEUED


async def test_a_stage_begins_again_only_when_its_cancelled_run_has_let_go(service, worker, experiment):
    run = await service.stages.run(experiment.id, "gpt_train")
    lease = worker.claim(TRAINER, "worker-1")
    await service.runs.start(experiment.id, "gpt_train", run.run)
    await service.stages.cancel(experiment.id, "gpt_train")

    again = asyncio.create_task(service.stages.run(experiment.id, "gpt_train"))
    await asyncio.wait([again], timeout=0.05)
    assert not again.done()
    worker.confirm_cancel(lease)

    assert (await again).run == run.run + 1


async def test_cancelling_twice_is_harmless(service, worker, experiment):
    await service.stages.run(experiment.id, "denoise")

    first = await service.stages.cancel(experiment.id, "denoise")
    second = await service.stages.cancel(experiment.id, "denoise")

    assert first == second
    assert worker.claim(PREPROCESSOR, "worker-1").job.payload["stage"] != "denoise"


@pytest.mark.parametrize("numbers", ["", "a", "0-0", "0,0", "-1", "0-", "0;1", "0-1-2-" * 9])
async def test_gpu_numbers_are_checked(service, experiment, numbers):
    with pytest.raises(InvalidParameter, match="gpu_numbers"):
        await service.update(experiment.id, gpu_numbers=numbers)


@pytest.mark.parametrize("numbers", ["7", "0-1-2", "0,1,2"])
async def test_gpu_numbers_are_joined_by_dashes_or_commas(service, experiment, numbers):
    assert (await service.update(experiment.id, gpu_numbers=numbers)).gpu_numbers == numbers


async def test_an_experiment_takes_another_name_gpus_and_precision(service, experiment):
    changed = await service.update(experiment.id, exp_name="rob", gpu_numbers="0-1-2", is_half=False)

    assert (changed.exp_name, changed.gpu_numbers, changed.is_half) == ("rob", "0-1-2", False)
    with pytest.raises(InvalidRequest, match="Nothing"):
        await service.update(experiment.id)
