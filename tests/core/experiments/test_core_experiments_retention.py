"""What is thrown away by age and by disk budget, and what never is."""

from __future__ import annotations

import logging
import os
import time

import pytest
from experiment_support import BEFORE_TRAINING, complete

from core.errors import Conflict, NotFound
from core.experiments.requests import ExperimentRequest, TaskRequest
from core.experiments.retention import DAY, RetentionPolicy
from core.experiments.service import ExperimentService
from core.records import NewCheckpointRecord, NewVoiceRecord
from core.stages.status import StageStatus

MONTH = RetentionPolicy(task_seconds=30 * DAY)


@pytest.fixture
def later(records, queue, events, storage, versions) -> ExperimentService:
    """Return the service as it is forty days from now."""
    return ExperimentService(records, queue, events, storage, versions=versions, clock=lambda: time.time() + 40 * DAY)


async def ended_task(service, storage) -> str:
    """Return a cancelled task with a file of 1000 bytes; the id of its experiment."""
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    await service.tasks.cancel(task.id)
    storage.put_bytes(f"experiments/{task.exp_id}/source/a.wav", bytes(1000))
    storage.put_bytes(f"logs/{task.exp_id}/convert.1.jsonl", b"{}\n")
    return task.exp_id


async def trained(service, records, storage) -> str:
    """Return an experiment with both models trained."""
    experiment = await service.create(ExperimentRequest("bob", "file-1", version="nano", language="en"))
    storage.put_bytes(f"experiments/{experiment.id}/segments/p.wav", b"a prompt")
    prompt = {"audio": f"experiments/{experiment.id}/segments/p.wav", "text": "Hello.", "language": "en"}
    await complete(service, experiment.id, *BEFORE_TRAINING[:2])
    await complete(service, experiment.id, "asr", outputs={"prompt": prompt})
    await complete(service, experiment.id, *BEFORE_TRAINING[3:])
    for kind in ("sovits", "gpt"):
        await keep_checkpoint(records, storage, experiment.id, kind)
        await complete(
            service, experiment.id, f"{kind}_train", outputs={"checkpoint_id": f"ckpt-{experiment.id}-{kind}"}
        )
    return experiment.id


async def keep_checkpoint(records, storage, exp_id, kind, name=""):
    key = f"ckpt-{exp_id}-{name or kind}"
    storage.put_bytes(f"checkpoints/{key}.safetensors", b"weights")
    await records.checkpoints.create(
        NewCheckpointRecord(id=key, kind=kind, version="nano", sha256="0" * 64, size_bytes=7, exp_id=exp_id)
    )
    return key


async def test_an_old_task_goes_with_its_files_and_logs(service, later, records, storage):
    old = await ended_task(service, storage)

    assert await service.retention.clean(MONTH) == 0
    assert await later.retention.clean(MONTH) == 1

    with pytest.raises(NotFound):
        await records.experiments.get(old)
    assert not storage.exists(f"experiments/{old}/source/a.wav")
    assert not storage.exists(f"logs/{old}/convert.1.jsonl")


async def test_what_is_under_way_or_paused_is_kept_however_old(service, later, records):
    task = await service.tasks.create(TaskRequest("bob", "file-1", version="nano", language="en"))
    paused = await service.create(ExperimentRequest("rob", "file-1", version="nano", language="en"))
    await complete(service, paused.id, *BEFORE_TRAINING)
    await service.stages.run(paused.id, "gpt_train")
    await service.stages.control(paused.id, "gpt_train", "pause")

    assert await later.retention.clean(RetentionPolicy(task_seconds=DAY, experiment_seconds=DAY, bytes=1)) == 0

    assert (await records.experiments.get(task.exp_id)).id == task.exp_id
    assert (await records.stages.get(paused.id, "gpt_train")).status is StageStatus.PAUSED


async def test_an_experts_experiment_is_kept_unless_a_time_is_set_for_it(service, later):
    await service.create(ExperimentRequest("bob", "file-1", version="nano", language="en"))

    assert await later.retention.clean(MONTH) == 0
    assert await later.retention.clean(RetentionPolicy(experiment_seconds=DAY)) == 1


async def test_a_voice_outlives_the_experiment_that_made_it(service, later, records, storage):
    exp_id = await trained(service, records, storage)
    voice = await service.voices.publish(exp_id)
    unused = await keep_checkpoint(records, storage, exp_id, "gpt", "older")

    assert await later.retention.clean(RetentionPolicy(experiment_seconds=DAY)) == 1

    assert storage.exists(voice.prompt["audio"])
    for checkpoint in (voice.gpt_checkpoint_id, voice.sovits_checkpoint_id):
        assert storage.exists((await records.checkpoints.get(checkpoint)).storage_key)
    with pytest.raises(NotFound):
        await records.checkpoints.get(unused)
    assert not storage.exists(f"checkpoints/{unused}.safetensors")


async def test_a_promoted_checkpoint_stays(service, records, storage):
    exp_id = await trained(service, records, storage)
    await records.checkpoints.promote(f"ckpt-{exp_id}-gpt")

    await service.delete(exp_id)

    assert storage.exists(f"checkpoints/ckpt-{exp_id}-gpt.safetensors")
    assert not storage.exists(f"checkpoints/ckpt-{exp_id}-sovits.safetensors")


async def test_an_experiment_whose_folder_holds_a_voices_prompt_is_kept(service, later, records, storage):
    exp_id = await trained(service, records, storage)
    prompt = {"name": "default", "audio": f"experiments/{exp_id}/segments/p.wav", "text": "Hello.", "language": "en"}
    await records.voices.create(
        NewVoiceRecord(
            name="robert",
            version="nano",
            language="en",
            gpt_checkpoint_id=f"ckpt-{exp_id}-gpt",
            sovits_checkpoint_id=f"ckpt-{exp_id}-sovits",
            prompts=[prompt],
        )
    )

    assert await later.retention.clean(RetentionPolicy(experiment_seconds=DAY)) == 0

    with pytest.raises(Conflict, match="robert"):
        await service.delete(exp_id)


async def test_above_the_budget_the_oldest_go_until_it_fits(service, records, storage):
    first, second, third = [await ended_task(service, storage) for _ in range(3)]

    cleaned = await service.retention.clean(RetentionPolicy(bytes=storage.used_bytes() - 1500))

    assert cleaned == 2
    assert await records.experiments.ids() == {third}
    assert not storage.exists(f"experiments/{first}/source/a.wav")
    assert not storage.exists(f"experiments/{second}/source/a.wav")


async def test_a_budget_that_cannot_be_kept_is_said(service, storage, caplog):
    storage.put_bytes("checkpoints/a.safetensors", bytes(2000))

    with caplog.at_level(logging.WARNING):
        assert await service.retention.clean(RetentionPolicy(bytes=1000)) == 0

    assert "all of it is in use" in caplog.text


async def test_folders_without_a_record_and_old_logs_are_swept(service, storage):
    exp_id = await ended_task(service, storage)
    storage.put_bytes("experiments/exp-forgotten/a.wav", b"sound")
    storage.put_bytes("logs/job-1.jsonl", b"{}\n")
    for name in ("experiments/exp-forgotten", "logs/job-1.jsonl", f"logs/{exp_id}", f"experiments/{exp_id}"):
        os.utime(storage.path(name), (0, 0))

    await service.retention.clean(RetentionPolicy(log_seconds=DAY))

    assert not storage.path("experiments/exp-forgotten").exists()
    assert not storage.exists("logs/job-1.jsonl")
    assert storage.exists(f"logs/{exp_id}/convert.1.jsonl")
    assert storage.exists(f"experiments/{exp_id}/source/a.wav")


async def test_a_database_that_knows_nothing_sweeps_nothing(service, storage):
    storage.put_bytes("experiments/exp-of-another-database/a.wav", b"sound")
    os.utime(storage.path("experiments/exp-of-another-database"), (0, 0))

    await service.retention.clean(RetentionPolicy(log_seconds=DAY))

    assert storage.exists("experiments/exp-of-another-database/a.wav")
