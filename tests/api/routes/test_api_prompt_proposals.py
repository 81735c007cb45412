"""Passages of recordings are proposed as prompts by a worker, downloaded, and added as any other prompt."""

from __future__ import annotations

import argparse
import asyncio
import io
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from api_support import Api, eventually
from bundled_speech import RATE, speech
from voice_support import make_whole_voice

from commands.prompts import prompts
from core.errors import InvalidRequest
from core.jobs.queue import AsyncQueue
from core.jobs.roles import FILES
from core.settings import Settings
from roles.files import Files
from roles.runtime.services import WorkerServices
from roles.runtime.worker import Worker

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
