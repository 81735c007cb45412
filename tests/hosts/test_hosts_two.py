"""Two hosts share a task; one loses its power in the middle of a training, and the other goes on from there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import orjson
import pytest
import soundfile
from hosts_stage import Host, Shared, wait_until

from core.jobs.queue import Queue
from core.records import Records, TaskRecord, TaskStatus
from core.redis import connect
from core.storage.bucket_storage import BucketStorage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

RECORDING = Path(__file__).resolve().parents[2] / "prompts" / "allison" / "recording.flac"
SECONDS = 16


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    samples, rate = soundfile.read(RECORDING, frames=SECONDS * 16_000, dtype="int16")
    path = tmp_path / "recording.wav"
    soundfile.write(path, samples, rate)
    return path


def test_a_training_goes_on_at_the_other_host_from_its_last_checkpoint(shared, new_host, recording, tmp_path):
    first, second = new_host("first"), new_host("second")
    first.start("--roles", "preprocessor,trainer")
    second.start("--roles", "preprocessor,trainer", "--without-api")
    bucket = BucketStorage(shared.storage_url, tmp_path / "looking", 1 << 30)
    task = begin_task(shared, first.url(), recording)

    wait_until(lambda: bucket.exists(f"experiments/{task['exp_id']}/sovits_1/resume.pt"))
    lost, other = the_one_that_trains(shared, task["exp_id"], first, second)
    lost.lose_power()
    ended = wait_until(lambda: ended_task(shared, task["id"]), every=0.5)

    assert ended.status is TaskStatus.COMPLETED, ended.error
    assert other.says("Going on from epoch"), "the survivor began where the other had saved"
    assert not other.says("begins anew")
    assert lost.says("Claimed the job")
    assert other.says("Claimed the job")
    steps = steps_of(bucket, f"experiments/{task['exp_id']}/sovits_1/metrics.jsonl")
    assert steps == list(range(1, len(steps) + 1)), "every step was counted once, at one host or the other"
    assert_the_voice_is_whole(shared, bucket, ended)


def begin_task(shared: Shared, url: str, recording: Path) -> dict[str, str]:
    with httpx.Client(base_url=url, timeout=600) as client:
        with recording.open("rb") as sound:
            file = client.post("/api/v1/files", files={"file": (recording.name, sound)}, data={"purpose": "training"})
        assert file.status_code == 201, file.text
        options = {"version": "nano", "language": "en", "quality": "fast"}
        body = {"exp_name": "survivor", "audio_file_id": file.json()["id"], "options": options}
        created = client.post("/api/v1/tasks", json=body)
    assert created.status_code == 201, created.text
    shown: dict[str, str] = created.json()
    asyncio.run(train_shortly(shared, shown["exp_id"]))
    return shown


async def train_shortly(shared: Shared, exp_id: str) -> None:
    """Just long enough to be interrupted: no user waits for this voice."""
    records = Records(shared.database_url)
    async with records.experiments.transaction(exp_id) as change:
        short = {
            "audio_slice": {"min_length": 2000, "min_interval": 100},
            "sovits_train": {"total_epoch": 2, "batch_size": 8},
            "gpt_train": {"total_epoch": 1, "batch_size": 8},
        }
        change.set_experiment(parameters={**change.experiment.parameters, **short})
    await records.close()


def the_one_that_trains(shared: Shared, exp_id: str, first: Host, second: Host) -> tuple[Host, Host]:
    """Return the host that trains the SoVITS model now, and the other one."""
    with connect(shared.redis_url) as redis:
        [pid] = [worker.pid for worker in Queue(redis).workers() if worker.job == f"{exp_id}.sovits_train.1"]
    return (first, second) if first.has(pid) else (second, first)


def ended_task(shared: Shared, task_id: str) -> TaskRecord | None:
    task = asyncio.run(find_task(shared, task_id))
    return task if task.status.terminal else None


async def find_task(shared: Shared, task_id: str) -> TaskRecord:
    records = Records(shared.database_url)
    try:
        return await records.tasks.get(task_id)
    finally:
        await records.close()


def steps_of(bucket: BucketStorage, key: str) -> list[int]:
    return [orjson.loads(line)["step"] for line in bucket.path(key).read_bytes().splitlines()]


def assert_the_voice_is_whole(shared: Shared, bucket: BucketStorage, task: TaskRecord) -> None:
    """Everything that a synthesizer anywhere would fetch."""

    async def look() -> list[str]:
        records = Records(shared.database_url)
        try:
            voice = await records.voices.get(task.voice_id or "")
            weights = [
                await records.checkpoints.get(checkpoint_id)
                for checkpoint_id in (voice.gpt_checkpoint_id, voice.sovits_checkpoint_id)
            ]
        finally:
            await records.close()
        return [voice.prompt["audio"], *(checkpoint.storage_key for checkpoint in weights)]

    for key in asyncio.run(look()):
        assert bucket.path(key).stat().st_size > 0
