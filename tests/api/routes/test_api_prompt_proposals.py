"""Passages of recordings are proposed as prompts by a worker, downloaded, and added as any other prompt."""

from __future__ import annotations

import argparse
import asyncio
import io
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from api_support import Api, eventually
from bundled_speech import RATE, speech
from voice_support import make_whole_voice

from commands.prompts import prompts
from core.errors import InvalidRequest
from core.experiments.requests import ExperimentRequest
from core.jobs.file_jobs import KIND_FIELD
from core.jobs.job import Lease
from core.jobs.queue import AsyncQueue
from core.jobs.roles import FILES
from core.records import NewVoiceRecord
from core.settings import Settings
from roles.files import Files
from roles.runtime.services import WorkerServices
from roles.runtime.worker import Worker

PROPOSAL: dict[str, Any] = {"source": "1.wav", "start_seconds": 0.0, "seconds": 4.0, "text": "Hello.", "score": 0.9}
PROPOSALS = "/api/v1/voices/Anna/prompts/proposals"


def recording() -> bytes:
    file = io.BytesIO()
    pause = np.zeros(RATE, np.float32)
    samples = np.concatenate([speech("prepend.wav"), pause, speech("nogo.wav")[: 6 * RATE], pause])
    soundfile.write(file, samples, RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


@pytest.fixture
async def voice(api: Api) -> str:
    """Return the id of a voice that no experiment trained."""
    return (await make_whole_voice(api.services.records, api.services.storage, "Anna", recording())).id


@pytest.fixture
async def files_worker(settings: Settings, queue: AsyncQueue) -> AsyncIterator[None]:
    services = WorkerServices(settings, settings.redis_url, threads=1)
    role = Files()
    worker = Worker(role, services, "files-test-1-proposals")
    role.start(services)
    thread = threading.Thread(target=worker.run)
    thread.start()

    async def works() -> bool:
        return any(worker.role == FILES for worker in await queue.workers())

    await eventually(works, 120)
    yield
    worker.drain()
    thread.join(120)
    services.close()


async def test_a_voice_without_recordings_says_what_would_work(client: httpx.AsyncClient, voice: str) -> None:
    gone = await client.get(PROPOSALS)
    unknown = await client.get(PROPOSALS, params={"file_id": "file-none"})
    nobody = await client.get("/api/v1/voices/nobody/prompts/proposals")
    expired = await client.get(f"{PROPOSALS}/proposals-none.0/audio")
    malformed = await client.get(f"{PROPOSALS}/x/audio")

    assert (gone.status_code, gone.json()["error"]["code"]) == (409, "input_gone")
    assert "`file_id`" in gone.json()["error"]["hint"]
    assert (unknown.status_code, nobody.status_code) == (404, 404)
    assert (expired.status_code, malformed.status_code) == (404, 404)
    assert (await client.get(PROPOSALS, params={"count": 0})).status_code == 422


async def test_without_a_worker_nobody_waits(client: httpx.AsyncClient, voice: str) -> None:
    uploaded = (await client.post("/api/v1/files", files={"file": ("a.wav", recording())})).json()
    response = await client.get(PROPOSALS, params={"file_id": uploaded["id"]})

    assert (response.status_code, response.json()["error"]["code"]) == (503, "not_ready")


async def claimed_request(queue: AsyncQueue) -> tuple[Lease, dict[str, Any]]:
    """Return the job that a request waits for, and what it is asked to do."""
    lease = await eventually(lambda: queue.claim(FILES, "files-test", 60.0))
    return lease, {name: value for name, value in lease.job.payload.items() if value and name != KIND_FIELD}


async def test_proposals_come_from_what_the_voice_was_trained_on(api: Api, queue: AsyncQueue) -> None:
    services = api.services
    uploaded = (await api.client.post("/api/v1/files", files={"file": ("a.wav", recording())})).json()
    experiment = await services.experiments.create(
        ExperimentRequest(exp_name="anna", audio_file_id=uploaded["id"], version="nano")
    )
    other = await make_whole_voice(services.records, services.storage, "Anna", recording())
    ids: dict[str, Any] = {
        "gpt_checkpoint_id": other.gpt_checkpoint_id,
        "sovits_checkpoint_id": other.sovits_checkpoint_id,
    }
    voice = await services.records.voices.create(
        NewVoiceRecord(name="Anna 2", version="nano", language="en", prompts=other.prompts, exp_id=experiment.id, **ids)
    )
    for stage, outputs in (("convert", {}), ("audio_slice", {}), ("asr", {"prompt": {"audio": "of-anna/1.wav"}})):
        number = (await services.experiments.stages.run(experiment.id, stage)).run
        await services.experiments.runs.start(experiment.id, stage, number)
        await services.experiments.runs.complete(experiment.id, stage, number, outputs)
    await queue.register_worker("files-test", FILES, "here", 1)
    waiting = asyncio.create_task(api.client.get(f"/api/v1/voices/{voice.id}/prompts/proposals", params={"count": 2}))
    lease, request = await claimed_request(queue)
    await queue.ack(lease, {"source": "segments", "proposals": [PROPOSAL, PROPOSAL]})
    proposals = (await waiting).json()

    assert request == {
        "voice_id": voice.id,
        "voice_name": "Anna 2",
        "count": 2,
        "segments": "of-anna",
        "transcripts": f"experiments/{experiment.id}/transcripts.list",
        "recording": (await services.records.files.get(uploaded["id"])).storage_key,
    }
    assert (proposals["voice_id"], proposals["source"]) == (voice.id, "segments")
    assert [item["id"] for item in proposals["items"]] == [f"{lease.job.id}.0", f"{lease.job.id}.1"]
    assert proposals["items"][1]["audio_url"].endswith(f"/prompts/proposals/{lease.job.id}.1/audio")


async def test_nothing_is_looked_for_once_the_caller_has_left(api: Api, voice: str, queue: AsyncQueue) -> None:
    uploaded = (await api.client.post("/api/v1/files", files={"file": ("a.wav", recording())})).json()
    await queue.register_worker("files-test", FILES, "here", 1)
    async with httpx.AsyncClient(base_url=api.url) as caller:
        waiting = asyncio.create_task(caller.get(PROPOSALS, params={"file_id": uploaded["id"]}))
        lease, _ = await claimed_request(queue)
        waiting.cancel()

    async def is_cancelled() -> bool:
        job = await queue.job(lease.job.id)
        return job is not None and job.cancel_requested

    await eventually(is_cancelled, 30)


@pytest.mark.slow
@pytest.mark.usefixtures("files_worker")
async def test_a_proposal_is_heard_saved_and_added(api: Api, voice: str, tmp_path: Path) -> None:
    take = tmp_path / "take.wav"
    take.write_bytes(recording())
    options = argparse.Namespace(
        voice="Anna", url=api.url, api_key="", recording=str(take), count=2, save=str(tmp_path / "passages"), add=1,
        name="calm", json=True,
    )  # fmt: skip
    assert await asyncio.to_thread(prompts, options, api.settings) == 0
    view = (await api.client.get("/api/v1/voices/Anna")).json()
    added = view["prompts"][-1]
    saved, rate = soundfile.read(tmp_path / "passages" / "1.wav")
    added_samples, _ = soundfile.read(
        io.BytesIO((await api.client.get("/api/v1/voices/Anna/prompts/calm/audio")).content)
    )

    assert (added["name"], added["language"]) == ("calm", "en")
    assert "forwarded message" in added["text"] or "connection" in added["text"]
    assert 3 <= len(saved) / rate <= 10
    assert len(added_samples) / rate == pytest.approx(len(saved) / rate, abs=0.01)


async def test_the_command_asks_for_what_it_needs(settings: Settings) -> None:
    options = argparse.Namespace(voice="Anna", add=1, name=" ", recording="", url="", api_key="", count=1, save="")
    with pytest.raises(InvalidRequest, match="needs a name"):
        prompts(options, settings)
