"""A server with four callers, one of whom owns something of every kind; what the tests of access share."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass

from api_support import Api, make_voice, tone

from core.access import ALL_SCOPES, USER_SCOPES, Caller, act_as
from core.experiments.requests import ExperimentRequest, TaskRequest
from core.jobs.job import NewJob
from core.jobs.queue import Queue
from core.jobs.queue_commands import QueueOptions
from core.jobs.roles import FILES, SPLITTER
from core.records import NewFileRecord, Records
from core.redis import connect
from core.settings import Settings
from core.speech.inference_jobs import BatchItem
from core.speech.requests import SpeechRequest

_numbers = itertools.count()
ALICE = Caller("alice", USER_SCOPES, "key-alice")


@dataclass(frozen=True)
class Keys:
    """The key of each caller."""

    owner: str
    other: str
    admin: str


async def create_keys(records: Records) -> Keys:
    """Create keys of two users and of an admin."""
    created = [await records.api_keys.create(name, scopes=USER_SCOPES) for name in ("alice", "bob")]
    _, admin = await records.api_keys.create("root", scopes=ALL_SCOPES)
    return Keys(created[0][1], created[1][1], admin)


def headers(key: str) -> dict[str, str]:
    """Return the headers of a request with a key; none without one."""
    return {"X-API-Key": key} if key else {}


async def create_world(api: Api) -> dict[str, str]:
    """Create something of every kind that belongs to Alice; return the ids by the names of path parameters."""
    services, records = api.services, api.services.records
    with act_as(ALICE):
        file = await records.files.create(
            NewFileRecord(id=_unique("file"), filename="alice.wav", purpose="training", size_bytes=9, sha256="0" * 64)
        )
        await asyncio.to_thread(services.storage.put_bytes, file.storage_key, tone(2.0))
        voice = await make_voice(records, _unique("alice-voice"))
        await asyncio.to_thread(services.storage.put_bytes, "voices/x/prompt.wav", tone(2.0))
        step_task = await services.experiments.create_without_source(ExperimentRequest(exp_name="alice-steps"))
        task = await services.experiments.tasks.create(TaskRequest("alice-task", audio_file_id=file.id, version="nano"))
        experiment = await services.experiments.create(
            ExperimentRequest(exp_name="alice-exp", audio_file_id=file.id, version="nano")
        )
        dataset = await records.datasets.create(_unique("ds"), "alice-set", "en", "import", {}, 5)
        version = await records.dataset_versions.get(dataset.id, 1)
        await services.queue.enqueue(NewJob(FILES, {}, job_id=version.job_id))
        webhook = await services.webhooks.register("https://8.8.8.8/alice", ["task.cancelled"], "", "alice")
        ended = await services.experiments.tasks.create(TaskRequest("alice-end", audio_file_id=file.id, version="nano"))
        await services.experiments.tasks.cancel(ended.id)
        speech = SpeechRequest(text="Alice says.", voice_id=voice.id)
        inference = await services.inference.create(speech)
        batch = await services.batches.create([BatchItem(speech=speech, format="wav", filename="a.wav")])
        job = await services.queue.enqueue(NewJob(SPLITTER, {"text": "alice-text"}, job_id=_unique("alice-job")))
        dead = await services.queue.enqueue(NewJob(SPLITTER, {"text": "alice-text"}, priority=10))
    await asyncio.to_thread(_fail_next, api.settings)
    deliveries = await records.deliveries.page()
    key, _ = await records.api_keys.create(_unique("spare"))
    return {
        "file_id": file.id,
        "voice": voice.id,
        "model_id": voice.gpt_checkpoint_id,
        "task_id": task.id,
        "training_id": task.id,
        "step_task_id": step_task.id,
        "exp_id": experiment.id,
        "dataset_id": dataset.id,
        "dataset_job_id": version.job_id,
        "webhook_id": webhook.id,
        "delivery_id": deliveries.items[0].id if deliveries.items else "",
        "inference_id": inference.job.id,
        "batch_id": batch.job.id,
        "job_id": job.id,
        "dead_job_id": dead.id,
        "key_id": key.id,
    }


def _unique(prefix: str) -> str:
    return f"{prefix}-{next(_numbers)}"


def _fail_next(settings: Settings) -> None:
    """Fail the job of the highest priority for good."""
    with connect(settings.redis_url) as redis:
        queue = Queue(redis, QueueOptions.from_settings(settings))
        lease = queue.claim(SPLITTER, "splitter-test-1-failing")
        assert lease is not None
        queue.fail(lease, {"code": "internal_error", "message": "No luck.", "hint": ""}, permanent=True)
