"""Records of tasks, experiments and stages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from task_records import new_task_record

from core.errors import Conflict, NotFound
from core.records import (
    ExperimentRecord,
    ExperimentStatus,
    NewFileRecord,
    NewTaskRecords,
    Records,
    StageRecord,
    TaskStatus,
)
from core.stages.order import stage_order
from core.stages.status import StageStatus

NOW = 1_700_000_000.0


@pytest.fixture
async def records(database_url: str) -> AsyncIterator[Records]:
    records = Records(database_url, clock=lambda: NOW)
    await records.files.create(
        NewFileRecord(id="file-1", filename="a.wav", purpose="training", size_bytes=1, sha256="0" * 64)
    )
    yield records
    await records.close()


def new_task(number: int, **values) -> NewTaskRecords:
    experiment = ExperimentRecord(
        id=f"exp-{number}",
        exp_name="bob",
        version="nano",
        language="en",
        gpu_numbers="0",
        is_half=True,
        audio_file_id="file-1",
        task_id=f"task-{number}",
        priority=5,
        parameters={"asr": {"language": "en"}},
        status=ExperimentStatus.RUNNING,
        voice_id=None,
        created_at=NOW,
        updated_at=NOW,
    )
    task = new_task_record(number, **{"audio_file_id": "file-1", "created_at": NOW, **values})
    stage = StageRecord(experiment.id, "convert", StageStatus.QUEUED, run=1, work_run=1)
    return NewTaskRecords(task, experiment, stage)


async def test_a_task_is_found_as_it_was_made_with_its_experiment_and_first_stage(records):
    new = new_task(1, webhook_url="https://example.org/hook", schedule_at=NOW + 60)

    assert await records.tasks.create(new) == new.task

    assert await records.tasks.get("task-1") == new.task
    assert await records.experiments.get("exp-1") == new.experiment
    assert await records.stages.get("exp-1", "convert") == new.stage


async def test_stages_that_never_ran_are_pending(records):
    await records.tasks.create(new_task(1))

    stages = await records.stages.of_experiment("exp-1")

    assert [stage.stage for stage in stages] == list(stage_order("nano", with_test=True))
    assert [stage.status for stage in stages[:2]] == [StageStatus.QUEUED, StageStatus.PENDING]
    assert await records.stages.get("exp-1", "asr") == StageRecord("exp-1", "asr")
    assert stages[0].job_id == "exp-1.convert.1"
    assert stages[1].job_id == ""


async def test_what_is_unknown_is_not_found(records):
    for coroutine in (
        records.tasks.get("task-9"),
        records.experiments.get("exp-9"),
        records.stages.get("exp-9", "asr"),
        records.stages.of_experiment("exp-9"),
        records.experiments.delete("exp-9"),
    ):
        with pytest.raises(NotFound, match="-9"):
            await coroutine


async def test_a_task_needs_a_file_that_exists(records):
    with pytest.raises(NotFound, match="file-9"):
        await records.tasks.create(new_task(1, audio_file_id="file-9"))

    assert (await records.tasks.page()).total == 0
    assert (await records.experiments.page()).total == 0


async def test_one_task_without_a_file_does_not_spoil_those_that_arrive_with_it(records):
    results = await asyncio.gather(
        *(records.tasks.create(new_task(number, audio_file_id=f"file-{number % 2}")) for number in range(8)),
        return_exceptions=True,
    )

    assert [isinstance(result, NotFound) for result in results] == [True, False] * 4
    assert (await records.tasks.page()).total == 4


async def test_the_same_idempotency_key_makes_one_task(records):
    first = await records.tasks.create(new_task(1, idempotency_key="key"))

    second = await records.tasks.create(new_task(2, idempotency_key="key"))

    assert second == first
    assert (await records.tasks.page()).total == 1


async def test_the_same_idempotency_key_makes_one_task_even_when_all_arrive_at_once(records, database_url):
    other = Records(database_url)

    created = await asyncio.gather(
        *((records, other)[number % 2].tasks.create(new_task(number, idempotency_key="key")) for number in range(20))
    )

    assert len({task.id for task in created}) == 1
    assert (await records.tasks.page()).total == 1
    await other.close()


async def test_many_keys_that_arrive_at_two_processes_in_opposite_order_make_one_task_each(records, database_url):
    other = Records(database_url)
    keys = [f"key-{number}" for number in range(20)]

    first = [records.tasks.create(new_task(n, idempotency_key=key)) for n, key in enumerate(keys)]
    second = [other.tasks.create(new_task(100 + n, idempotency_key=key)) for n, key in enumerate(reversed(keys))]
    await asyncio.gather(*first, *second)

    assert (await records.tasks.page()).total == 20
    await other.close()


async def test_many_tasks_made_and_read_at_once_are_all_there(records):
    await asyncio.gather(*(records.tasks.create(new_task(number)) for number in range(300)))

    created = await asyncio.gather(*(records.tasks.get(f"task-{number}") for number in range(300)))

    assert [task.exp_id for task in created] == [f"exp-{number}" for number in range(300)]


async def test_readers_of_one_trip_get_their_own_answers(records):
    await records.tasks.create(new_task(1))

    task = await asyncio.gather(
        records.tasks.get("task-1"),
        records.tasks.get("task-9"),
        records.tasks.get("task-1"),
        return_exceptions=True,
    )

    assert task[0] == task[2] == new_task(1).task
    assert isinstance(task[1], NotFound)


async def test_tasks_are_listed_newest_first_by_page_and_status(records):
    for number in range(5):
        await records.tasks.create(new_task(number))
    async with records.experiments.transaction("exp-3") as change:
        change.set_task(status=TaskStatus.RUNNING)

    page = await records.tasks.page(limit=2, offset=1)
    running = await records.tasks.page(status=TaskStatus.RUNNING)

    assert ([item.id for item in page.items], page.total) == (["task-3", "task-2"], 5)
    assert [item.id for item in running.items] == ["task-3"]


async def test_a_task_that_never_began_can_be_undone(records):
    new = new_task(1)
    await records.tasks.create(new)

    await records.tasks.discard(new)

    assert (await records.tasks.page()).total == 0
    assert await records.stages.active(10) == []


async def test_a_change_writes_what_changed_and_nothing_else(records):
    new = new_task(1)
    await records.tasks.create(new)

    async with records.experiments.transaction("exp-1") as change:
        change.set_stage("convert", status=StageStatus.COMPLETED, outputs={"files": 3})
        change.set_stage("audio_slice", status=StageStatus.QUEUED, run=1, work_run=1)
        change.set_task(progress=0.5, error={"code": "x"})
        change.set_experiment(voice_id="voice-1")

    assert await records.tasks.get("task-1") == replace(new.task, progress=0.5, error={"code": "x"})
    assert (await records.stages.get("exp-1", "convert")).outputs == {"files": 3}
    assert (await records.stages.get("exp-1", "audio_slice")).status is StageStatus.QUEUED
    assert (await records.experiments.get("exp-1")).voice_id == "voice-1"


async def test_a_cleared_error_is_none_again(records):
    await records.tasks.create(new_task(1, error={"code": "x", "message": "It broke."}))
    assert (await records.tasks.get("task-1")).error_message == "It broke."

    async with records.experiments.transaction("exp-1") as change:
        change.set_task(error=None)

    assert (await records.tasks.get("task-1")).error_message is None


async def test_a_file_in_use_stays_and_a_file_of_a_finished_task_may_go(records):
    await records.tasks.create(new_task(1))

    with pytest.raises(Conflict, match="task-1"):
        await records.files.delete("file-1")

    async with records.experiments.transaction("exp-1") as change:
        change.set_task(status=TaskStatus.COMPLETED)
        change.set_experiment(status=ExperimentStatus.COMPLETED)
    await records.files.delete("file-1")
    assert (await records.tasks.get("task-1")).audio_file_id is None


async def test_an_experiment_under_way_cannot_be_deleted(records):
    await records.tasks.create(new_task(1))

    with pytest.raises(Conflict, match="convert"):
        await records.experiments.delete("exp-1")

    async with records.experiments.transaction("exp-1") as change:
        change.set_stage("convert", status=StageStatus.CANCELLED)
    with pytest.raises(Conflict, match="task-1"):
        await records.experiments.delete("exp-1")

    async with records.experiments.transaction("exp-1") as change:
        change.set_task(status=TaskStatus.CANCELLED)
    await records.experiments.delete("exp-1")
    with pytest.raises(NotFound):
        await records.tasks.get("task-1")


async def test_an_experiment_can_be_renamed(records):
    await records.tasks.create(new_task(1))

    changed = await records.experiments.update("exp-1", exp_name="alice", is_half=False)

    assert changed == await records.experiments.get("exp-1")
    assert (changed.exp_name, changed.is_half, changed.gpu_numbers) == ("alice", False, "0")


async def test_active_stages_come_in_pages(records):
    for number in range(4):
        await records.tasks.create(new_task(number))
    async with records.experiments.transaction("exp-1") as change:
        change.set_stage("convert", status=StageStatus.COMPLETED)

    first = await records.stages.active(2)
    rest = await records.stages.active(2, after=first[-1].exp_id)

    assert [item.exp_id for item in first + rest] == ["exp-0", "exp-2", "exp-3"]


async def test_a_task_under_way_without_an_active_stage_is_idle(records):
    for number in range(3):
        await records.tasks.create(new_task(number))
        async with records.experiments.transaction(f"exp-{number}") as change:
            change.set_task(status=TaskStatus.RUNNING)
    for number, status in ((1, StageStatus.COMPLETED), (2, StageStatus.PAUSED)):
        async with records.experiments.transaction(f"exp-{number}") as change:
            change.set_stage("convert", status=status)

    assert [task.id for task in await records.tasks.stalled(10)] == ["task-1"]
