"""A site that another one has replaced: it reads, and says to everything else that it is not the primary one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from api_support import Api, ToneWorkers, running
from websockets.asyncio.client import connect

from core.records import VoiceRecord
from core.settings import Settings
from recovery.standby.epochs import Epochs, LeaseRenewal
from recovery.standby.site import SiteIdentity


@pytest.fixture
async def replaced(
    settings: Settings, tmp_path: Path, tone_workers: ToneWorkers, voice: VoiceRecord
) -> AsyncIterator[Api]:
    """Yield an API whose site another one has replaced."""
    fenced = settings.model_copy(update={"fencing": True, "backup_url": str(tmp_path / "target")})
    LeaseRenewal(fenced).renew()
    Epochs.of(fenced).claim(2, SiteIdentity(site="another", host="elsewhere"))
    LeaseRenewal(fenced).renew()
    async with running(fenced) as api:
        yield api


def check_rejection(response: httpx.Response) -> None:
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0
    error = response.json()["error"]
    assert error["code"] == "not_primary"
    assert "elsewhere has replaced it" in error["message"]


async def test_requests_that_may_write_are_to_be_sent_again_elsewhere(replaced: Api, voice: VoiceRecord) -> None:
    speech = {"model": "tts-1", "input": "Hello there.", "voice": "Allison"}

    check_rejection(await replaced.client.post("/v1/audio/speech", json=speech))
    check_rejection(await replaced.client.post("/api/v1/consents", json={}))
    check_rejection(await replaced.client.delete(f"/api/v1/voices/{voice.id}"))
    voices = await replaced.client.get("/api/v1/voices")
    assert [item["id"] for item in voices.json()["items"]] == [voice.id]


async def test_speech_over_a_websocket_is_rejected_too(replaced: Api) -> None:
    async with connect(replaced.url.replace("http://", "ws://") + "/v1/audio/speech/stream") as socket:
        await socket.send(json.dumps({"type": "text.append", "text": "Hello there. "}))
        await socket.send(json.dumps({"type": "text.done"}))
        message = json.loads(await socket.recv())
        while message["type"] != "error":
            message = json.loads(await socket.recv())

    assert message["error"]["code"] == "not_primary"
