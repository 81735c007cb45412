"""Experiments that are made before their recordings are there, and run step by step; and the list they share."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import Conflict, InvalidParameter, InvalidRequest
from core.experiments.requests import ExperimentRequest, TaskRequest
from core.experiments.service import ExperimentService
from core.experiments.sources import ExperimentSource
from core.jobs.queue import AsyncQueue
from core.records import (
    STEPWISE_DIALECT,
    ExperimentRecord,
    ExperimentStatus,
    NewCheckpointRecord,
    Records,
    TaskRecord,
    TaskStatus,
)
from core.stages.status import StageStatus

CHECKPOINTS = {"gpt_train": "ckpt-gpt", "sovits_train": "ckpt-sovits"}


@pytest.fixture
async def opened(service: ExperimentService) -> ExperimentRecord:
    """Create an experiment of the training service and name its recording."""
    experiment = await service.create_without_source(
        ExperimentRequest("bob", version="nano", language="en", parameters={"train_gpt": {"total_epoch": 3}})
    )
    return await service.set_source(experiment.id, ExperimentSource(audio_file_id="file-1"))


async def complete(service: ExperimentService, exp_id: str, stage: str, **outputs: Any) -> None:
    run = (await service.records.stages.get(exp_id, stage)).run
    await service.runs.start(exp_id, stage, run)
    await service.runs.complete(exp_id, stage, run, outputs)


async def test_parameters_given_at_the_beginning_are_those_of_the_stage(opened: ExperimentRecord) -> None:
    assert opened.dialect == STEPWISE_DIALECT
    assert opened.parameters == {"asr": {"language": "en"}, "gpt_train": {"total_epoch": 3}}


@pytest.mark.parametrize("parameters", [{"gpt_train": {"total_epoch": 0}}, {"speaker_vector": {}}])
async def test_parameters_that_cannot_be_are_refused_at_once(service: ExperimentService, parameters: Any) -> None:
    with pytest.raises(InvalidParameter):
        await service.create_without_source(ExperimentRequest("bob", version="nano", parameters=parameters))


async def test_a_stage_asked_for_early_begins_when_the_one_before_it_ended(
    service: ExperimentService, opened: ExperimentRecord, queue: AsyncQueue
) -> None:
    for stage in ("convert", "audio_slice", "asr", "text_feature"):
        await service.stages.run_or_plan(opened.id, stage)
    before = list((await service.records.experiments.get(opened.id)).planned)

    await complete(service, opened.id, "convert")

    after = list((await service.records.experiments.get(opened.id)).planned)
    assert before == ["audio_slice", "asr", "text_feature"]
    assert after == ["asr", "text_feature"]
    assert await queue.job(f"{opened.id}.audio_slice.1") is not None


async def test_a_stage_that_nobody_asked_the_needs_of_is_refused(
    service: ExperimentService, opened: ExperimentRecord
) -> None:
    await service.stages.run_or_plan(opened.id, "convert")

    with pytest.raises(InvalidRequest, match="needs text_feature, semantic_token"):
        await service.stages.run_or_plan(opened.id, "sovits_train")


async def test_a_failed_stage_ends_the_waiting(service: ExperimentService, opened: ExperimentRecord) -> None:
    for stage in ("convert", "audio_slice", "asr"):
        await service.stages.run_or_plan(opened.id, stage)

    await service.runs.start(opened.id, "convert", 1)
    await service.runs.fail(opened.id, "convert", 1, {"code": "x", "message": "No."})

    record = await service.records.experiments.get(opened.id)
    assert (record.planned, record.status) == ({}, ExperimentStatus.FAILED)


async def test_a_source_is_not_changed_under_a_stage_that_reads_it(
    service: ExperimentService, opened: ExperimentRecord
) -> None:
    await service.stages.run_or_plan(opened.id, "convert")

    with pytest.raises(Conflict, match="reading"):
        await service.set_source(opened.id, ExperimentSource())


async def test_everything_stops_and_may_be_stopped_again(
    service: ExperimentService, opened: ExperimentRecord, queue: AsyncQueue
) -> None:
    for stage in ("convert", "audio_slice"):
        await service.stages.run_or_plan(opened.id, stage)

    first = await service.stages.cancel_all(opened.id)
    second = await service.stages.cancel_all(opened.id)

    job = await queue.job(f"{opened.id}.convert.1")
    assert (first.status, first.planned) == (second.status, second.planned) == (ExperimentStatus.CANCELLED, {})
    assert job is not None
    assert job.status == "cancelled"


async def test_both_models_trained_are_a_voice_and_one_trained_anew_another(
    service: ExperimentService, opened: ExperimentRecord, records: Records
) -> None:
    for kind in ("gpt", "sovits"):
        for name in (f"ckpt-{kind}", f"ckpt-{kind}-2"):
            await records.checkpoints.create(
                NewCheckpointRecord(id=name, kind=kind, version="nano", sha256="0" * 64, size_bytes=1)
            )
    prompt = {"audio": "experiments/x/prompt.wav", "text": "Hi.", "language": "en"}
    assert service.storage is not None
    service.storage.put_bytes(prompt["audio"], b"RIFF")
    async with records.experiments.transaction(opened.id) as change:
        change.set_stage("asr", status=StageStatus.COMPLETED, run=1, outputs={"prompt": prompt})
        for stage in ("text_feature", "semantic_token"):
            change.set_stage(stage, status=StageStatus.COMPLETED, run=1)

    voices = []
    for stage, checkpoint in (*CHECKPOINTS.items(), ("gpt_train", "ckpt-gpt-2")):
        await service.stages.run_or_plan(opened.id, stage)
        await complete(service, opened.id, stage, checkpoint_id=checkpoint)
        voices.append((await records.experiments.get(opened.id)).voice_id)

    assert voices[0] is None
    assert voices[1] is not None
    assert voices[2] not in (None, voices[1])
    assert (await records.voices.get(voices[2])).gpt_checkpoint_id == "ckpt-gpt-2"


async def test_one_list_holds_both_kinds_newest_first_page_by_page(
    service: ExperimentService, opened: ExperimentRecord, records: Records
) -> None:
    tasks = [await service.tasks.create(TaskRequest(name, "file-1")) for name in ("a", "b")]
    later = await service.create_without_source(ExperimentRequest("later"))
    await service.create(ExperimentRequest("an expert's", "file-1"))

    whole = await records.tasks.page_with_experiments()
    pages = [await records.tasks.page_with_experiments(limit=1, offset=offset) for offset in range(5)]

    newest_first = [later.id, tasks[1].id, tasks[0].id, opened.id]
    assert {item.id for item in whole.items} == set(newest_first)
    assert whole.total == 4
    assert [[item.id for item in page.items] for page in pages] == [[item.id] for item in whole.items] + [[]]
    assert {page.total for page in pages} == {4}
    assert [type(item) for item in whole.items].count(TaskRecord) == 2


async def test_the_list_is_filtered_by_what_a_status_means_for_both(
    service: ExperimentService, opened: ExperimentRecord, records: Records
) -> None:
    task = await service.tasks.create(TaskRequest("a", "file-1"))
    await service.stages.run_or_plan(opened.id, "convert")

    ids = {
        status: [item.id for item in (await records.tasks.page_with_experiments(statuses=(status,))).items]
        for status in TaskStatus
    }

    assert ids[TaskStatus.QUEUED] == [task.id]
    assert ids[TaskStatus.RUNNING] == [opened.id]
    assert ids[TaskStatus.COMPLETED] == []
