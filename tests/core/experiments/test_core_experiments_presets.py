"""Presets: stages that follow each other by themselves in expert mode."""

from __future__ import annotations

import pytest
from experiment_support import BEFORE_TRAINING, complete, complete_run, start

from core.errors import Conflict, InvalidParameter, InvalidRequest, NotFound
from core.experiments.requests import ExperimentRequest
from core.records import ExperimentRecord
from core.stages.status import StageStatus


@pytest.fixture
async def experiment(service) -> ExperimentRecord:
    return await service.create(ExperimentRequest("bob", "file-1", version="nano", language="en"))


async def test_a_preset_runs_its_stages_each_when_its_turn_comes(service, records, experiment):
    begun = await service.stages.run_preset(experiment.id, "full_training", {"train_gpt": {"total_epoch": 2}})
    assert [run.stage for run in begun] == ["convert"]

    done = []
    while active := await records.stages.active(10):
        for run in active:
            await complete_run(service, run)
            done.append(run.stage)

    assert done == ["convert", "audio_slice", "asr", "hubert_feature", "semantic_token", "text_feature",
                    "gpt_train", "sovits_train"]  # fmt: skip
    assert (await records.experiments.get(experiment.id)).planned == {}
    assert (await records.stages.get(experiment.id, "gpt_train")).config["total_epoch"] == 2
    assert (await records.stages.get(experiment.id, "denoise")).outputs == {"skipped": True}


async def test_what_depends_on_a_failed_stage_does_not_begin(service, records, experiment):
    await service.stages.run_preset(experiment.id, "full_training")
    await complete_run(service, await records.stages.get(experiment.id, "convert"))
    await complete_run(service, await records.stages.get(experiment.id, "audio_slice"))
    asr = await records.stages.get(experiment.id, "asr")
    await service.runs.start(experiment.id, "asr", asr.run)

    await service.runs.fail(experiment.id, "asr", asr.run, {"message": "Nobody speaks."})
    await complete_run(service, await records.stages.get(experiment.id, "hubert_feature"))

    assert list((await records.experiments.get(experiment.id)).planned) == []
    assert (await records.stages.get(experiment.id, "semantic_token")).status is StageStatus.QUEUED
    assert (await records.stages.get(experiment.id, "text_feature")).status is StageStatus.PENDING


async def test_a_cancelled_stage_takes_what_would_follow_along(service, records, experiment):
    await service.stages.run_preset(experiment.id, "full_training")

    await service.stages.cancel(experiment.id, "convert")

    assert (await records.experiments.get(experiment.id)).planned == {}
    assert await records.stages.active(10) == []


async def test_a_preset_needs_what_it_does_not_make(service, records, experiment):
    with pytest.raises(InvalidRequest, match="sovits_train needs text_feature, semantic_token first"):
        await service.stages.run_preset(experiment.id, "retrain_sovits")

    assert (await records.experiments.get(experiment.id)).planned == {}


async def test_a_preset_trains_again_on_what_is_there(service, experiment):
    await complete(service, experiment.id, *BEFORE_TRAINING, "sovits_train")

    [run] = await service.stages.run_preset(experiment.id, "retrain_sovits", {"sovits_train": {"total_epoch": 3}})

    assert (run.stage, run.run, run.config["total_epoch"]) == ("sovits_train", 2, 3)


async def test_a_preset_is_refused_with_what_is_wrong(service, experiment):
    with pytest.raises(NotFound, match="no preset named 'all'"):
        await service.stages.run_preset(experiment.id, "all")
    with pytest.raises(InvalidParameter, match="does not run gpt_train"):
        await service.stages.run_preset(experiment.id, "retrain_sovits", {"gpt_train": {}})
    with pytest.raises(InvalidParameter, match=r"sovits_train.batch_size is 99"):
        await service.stages.run_preset(experiment.id, "full_training", {"sovits_train": {"batch_size": 99}})
    await start(service, experiment.id, "convert")
    with pytest.raises(Conflict, match="convert is running already"):
        await service.stages.run_preset(experiment.id, "full_training")
