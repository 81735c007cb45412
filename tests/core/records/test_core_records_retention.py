"""What upkeep and catalogues ask of the records: the same answers from SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.errors import Conflict
from core.records import (
    STEPWISE_DIALECT,
    ExperimentRecord,
    ExperimentStatus,
    NewCheckpointRecord,
    NewVoiceRecord,
    Records,
)
from core.records.models.voices import VoicePrompt

NOW = 1_700_000_000.0
SHA = "0" * 64


@pytest.fixture
async def records(database_url: str) -> AsyncIterator[Records]:
    records = Records(database_url, clock=lambda: NOW)
    yield records
    await records.close()


async def add_experiment(records: Records, number: int, **values) -> ExperimentRecord:
    fields = {
        "id": f"exp-{number}",
        "exp_name": "bob",
        "version": "nano",
        "language": "en",
        "gpu_numbers": "0",
        "is_half": True,
        "audio_file_id": None,
        "task_id": None,
        "priority": 5,
        "parameters": {},
        "status": ExperimentStatus.COMPLETED,
        "voice_id": None,
        "created_at": NOW + number,
        "updated_at": NOW + number,
        **values,
    }
    return await records.experiments.create(ExperimentRecord(**fields))


async def never(key: str) -> None:
    pytest.fail(f"{key} was deleted")


async def add_voice(records: Records, exp_id: str = "exp-1") -> None:
    common: dict[str, Any] = {"version": "nano", "sha256": SHA, "size_bytes": 8, "exp_id": exp_id}
    await records.checkpoints.create(NewCheckpointRecord(id="ckpt-g", kind="gpt", **common))
    await records.checkpoints.create(NewCheckpointRecord(id="ckpt-s", kind="sovits", **common))
    await records.checkpoints.create(NewCheckpointRecord(id="ckpt-unused", kind="gpt", **common))
    prompts: list[VoicePrompt] = [
        {"name": "default", "audio": "voices/v/prompt.wav", "text": "Hello.", "language": "en"}
    ]
    ids: dict[str, Any] = {"gpt_checkpoint_id": "ckpt-g", "sovits_checkpoint_id": "ckpt-s"}
    await records.voices.create(NewVoiceRecord(name="bob", version="nano", language="en", prompts=prompts, **ids))


async def test_ended_experiments_come_in_pages_the_longest_unchanged_first(records):
    for number in range(4):
        status = ExperimentStatus.RUNNING if number == 2 else ExperimentStatus.COMPLETED
        await add_experiment(records, number, status=status)

    first = await records.experiments.ended(2)
    rest = await records.experiments.ended(2, after=first[-1], of_tasks=False)

    assert [item.id for item in first + rest] == ["exp-0", "exp-1", "exp-3"]
    assert [experiment.id for experiment in await records.experiments.ended(9, before=NOW + 1)] == ["exp-0"]
    assert await records.experiments.ended(9, of_tasks=True) == []
    assert await records.experiments.ids() == {f"exp-{number}" for number in range(4)}


async def test_a_deleted_experiment_takes_the_weights_that_nobody_uses(records):
    await add_experiment(records, 1)
    await add_voice(records)

    assert await records.experiments.delete("exp-1") == ["checkpoints/ckpt-unused.safetensors"]

    assert (await records.checkpoints.page()).total == 2


async def test_an_experiment_whose_folder_holds_a_voices_prompt_stays(records):
    await add_experiment(records, 1)
    await add_voice(records)
    inside = [{"name": "default", "audio": "experiments/exp-1/segments/1.wav", "text": "Hello.", "language": "en"}]
    voice = await records.voices.get("bob")
    await records.voices.update(voice.id, prompts=inside)

    with pytest.raises(Conflict, match="prompts of bob"):
        await records.experiments.delete("exp-1")


async def test_experiments_that_clients_know_as_tasks_are_listed_with_them(records):
    for number in range(3):
        await add_experiment(records, number, dialect=STEPWISE_DIALECT if number else "")

    page = await records.tasks.page_with_experiments(limit=1, offset=1)

    assert ([item.id for item in page.items], page.total) == (["exp-1"], 2)


async def test_the_catalogue_tells_who_uses_what(records):
    await add_experiment(records, 1)
    await add_voice(records)

    assert (await records.checkpoints.page(kind="gpt", exp_id="exp-1")).total == 2
    assert {
        key: [v.name for v in voice]
        for key, voice in (await records.voices.by_checkpoint(["ckpt-g", "ckpt-s"])).items()
    } == {
        "ckpt-g": ["bob"],
        "ckpt-s": ["bob"],
    }
    assert (await records.checkpoints.find_by_checksum("sovits", SHA)).id == "ckpt-s"
    with pytest.raises(Conflict, match="speaks for bob"):
        await records.checkpoints.delete_with_file("ckpt-g", delete_file=never)


async def test_limits_that_two_hosts_set_at_once_are_both_kept(records, database_url):
    other = Records(database_url, clock=lambda: NOW)

    await asyncio.gather(
        records.limits.update({"cpu": {"training": 2}}),
        other.limits.update({"cuda": {"inference": 3}}),
        records.limits.update({"cpu": {"inference": 5}}),
        other.limits.update({"cpu": {"inference": 5}}),
    )

    kept = {limit.device: (limit.training, limit.inference) for limit in await records.limits.all()}
    assert kept["cuda"] == (None, 3)
    assert kept["cpu"][1] == 5
    await other.close()
