"""The CosyVoice service's API: names, recordings to imitate, and addresses of finished WAVs."""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from api_support import Api, ToneWorkers, eventually, make_voice, running, tone

from core.records import Records, VoiceRecord
from core.settings import Settings


async def test_the_root_and_the_list_name_the_voices(
    client: httpx.AsyncClient, voice: VoiceRecord, records: Records
) -> None:
    await make_voice(records, "Bob")

    status = (await client.get("/")).json()
    names = (await client.get("/voices")).json()

    assert status == {"status": "未就绪", "available_voices": ["Bob", "Allison"]}
    assert names == ["Bob", "Allison"]


async def test_the_root_says_when_a_text_can_be_spoken(
    client: httpx.AsyncClient, voice: VoiceRecord, tone_workers: ToneWorkers
) -> None:
    assert (await client.get("/")).json()["status"] == "就绪"


async def test_a_text_becomes_a_recording_to_download(
    client: httpx.AsyncClient, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    response = await client.post(
        "/synthesize", json={"target": "Hello there, my dear. How are you today.", "voice": "Allison"}
    )
    view = response.json()
    sound = await client.get(view["download_url"])

    assert response.status_code == 200
    assert view["num_chunks"] == 2
    assert view["processing_time_seconds"] > 0
    assert sound.headers["content-type"] == "audio/wav"
    with wave.open(io.BytesIO(sound.content)) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx((21 + 18) / 20 + 0.3, abs=0.01)


@pytest.mark.parametrize(
    "name", ["..%2f..%2fsovitsd.sqlite3", "x.wav", "0" * 32 + ".wav", "A" * 32 + ".wav", "0" * 32, "%2e%2e"]
)
async def test_only_names_that_were_given_out_can_be_downloaded(client: httpx.AsyncClient, name: str) -> None:
    response = await client.get(f"/audio/{name}")

    assert response.status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"voice": "Allison"}, 400, "empty"),
        ({"target": "", "voice": "Allison"}, 400, "empty"),
        ({"target": "x" * 100_001, "voice": "Allison"}, 400, "100,000"),
        ({"target": "Hello."}, 400, "Neither"),
        ({"target": "Hello.", "voice": "alison"}, 400, "Allison"),
        ({"target": "Hello.", "voice": "a", "voice_url": "http://x/"}, 400, "exclude"),
        ({"target": "Hello.", "voice_url": "http://x/"}, 400, "voice_prompt_text"),
        ({"target": ["Hello."], "voice": "Allison"}, 400, "target"),
    ],
)
async def test_bad_parameters_are_400_with_a_sentence(
    client: httpx.AsyncClient,
    tone_workers: ToneWorkers,
    voice: VoiceRecord,
    body: dict[str, Any],
    status: int,
    message: str,
) -> None:
    response = await client.post("/synthesize", json=body)

    assert response.status_code == status
    assert isinstance(response.json()["detail"], str)
    assert message in response.json()["detail"]
    assert response.json()["error"]["code"]


async def test_nobody_to_speak_is_503(client: httpx.AsyncClient, voice: VoiceRecord) -> None:
    response = await client.post("/synthesize", json={"target": "Hello.", "voice": "Allison"})

    assert response.status_code == 503
    assert response.json()["error"]["code"] == "not_ready"


async def test_a_key_is_asked_for_where_keys_are_configured(
    settings: Settings, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    body = {"target": "Hello.", "voice": "Allison"}

    async with running(settings.model_copy(update={"valid_api_keys": ("k1", "k2")})) as api:
        none = await api.client.post("/synthesize", json=body)
        wrong = await api.client.post("/synthesize", json={**body, "apikey": "k3"})
        right = await api.client.post("/synthesize", json={**body, "apikey": "k2"})
        sound = await api.client.get(right.json()["download_url"])

    assert (none.status_code, wrong.status_code, right.status_code) == (401, 401, 200)
    assert sound.status_code == 200


async def test_an_utterance_that_fails_is_500(
    client: httpx.AsyncClient, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    tone_workers.error = {"code": "internal_error", "message": "Out of luck.", "hint": ""}

    response = await client.post("/synthesize", json={"target": "Hello.", "voice": "Allison"})

    assert response.status_code == 500
    assert response.json()["error"]["job_id"].startswith("speech-")


async def test_what_takes_too_long_is_504_and_cancelled(
    settings: Settings, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    tone_workers.gate.clear()

    async with running(settings.model_copy(update={"synthesis_timeout_seconds": 0.5})) as api:
        response = await api.client.post(
            "/synthesize", json={"target": "This is the first one. That is the second one.", "voice": "Allison"}
        )
        await eventually(lambda: tone_workers.cancelled)

    assert response.status_code == 504


async def test_a_client_that_goes_away_cancels_its_jobs(
    api: Api, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    tone_workers.gate.clear()

    body = {"target": "This is the first one. That is the second one.", "voice": "Allison"}
    waiting = asyncio.create_task(api.client.post("/synthesize", json=body))
    await eventually(lambda: len(tone_workers.requests) == 2)
    waiting.cancel()

    await eventually(lambda: tone_workers.cancelled)


@asynccontextmanager
async def a_host_of(content: bytes) -> AsyncIterator[str]:
    """Yield the URL of a recording on this machine."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield "http://127.0.0.1:{1}/a.wav".format(*server.sockets[0].getsockname())


async def imitate(api: Api, url: str) -> httpx.Response:
    body = {"target": "Hello.", "voice_url": url, "voice_prompt_text": "My own words."}
    return await api.client.post("/synthesize", json=body)


async def test_a_recording_is_imitated_with_the_newest_voices_models(
    api: Api, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    async with a_host_of(tone(3.0)) as url:
        response = await imitate(api, url)

    requested = tone_workers.requests[0]
    assert response.status_code == 200
    assert requested.voice_id == voice.id
    assert requested.prompt is not None
    assert (requested.prompt.text, requested.prompt.language) == ("My own words.", "auto")
    assert api.services.storage.exists(requested.prompt.audio)
    assert requested.prompt.audio.startswith(f"speech/{requested.parent}/")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tone(0.7), "lasts 0.7 s"),
        (tone(31.0), "lasts 31.0 s"),
        (b"no sound" * 99, ""),
        (tone(3, amplitude=0), "Nothing"),
    ],
)
async def test_a_recording_that_cannot_be_imitated_is_400(
    api: Api, tone_workers: ToneWorkers, voice: VoiceRecord, content: bytes, message: str
) -> None:
    async with a_host_of(content) as url:
        response = await imitate(api, url)

    assert response.status_code == 400
    assert message in response.json()["detail"]
    assert tone_workers.requests == []


async def test_a_private_address_is_rejected(api: Api, tone_workers: ToneWorkers, voice: VoiceRecord) -> None:
    response = await imitate(api, "http://169.254.169.254/latest/meta-data/")

    assert response.status_code == 400
    assert response.json()["error"]["code"] == "refused_address"


async def test_without_any_voice_nothing_can_be_imitated(api: Api, tone_workers: ToneWorkers) -> None:
    async with a_host_of(tone(3.0)) as url:
        response = await imitate(api, url)

    assert response.status_code == 400
    assert "Train one first" in response.json()["detail"]
