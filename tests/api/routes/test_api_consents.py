"""Voices and the consent of their speakers."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from api_support import Api, ToneWorkers, eventually, make_voice, running, tone
from sqlalchemy import update
from voice_support import make_model, make_whole_voice
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from wyoming.audio import AudioChunk
from wyoming.client import AsyncTcpClient
from wyoming.tts import SynthesizeChunk, SynthesizeStart, SynthesizeStopped, SynthesizeVoice

from core.errors import ConsentMissing
from core.records import ConsentRule, ConsentSource, NewCheckpointRecord, NewConsentRecord, NewVoiceRecord, Records
from core.records.tables import consents
from core.settings import Settings
from core.storage import Storage

STATEMENT = {"speaker": "Anna", "statement": "I agree that my voice is imitated.", "uses": ["audiobooks"]}


def in_days(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


async def stated(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    response = await client.post("/api/v1/consents", json=STATEMENT | fields)
    assert response.status_code == 201, response.text
    view: dict[str, Any] = response.json()
    return view


@pytest.fixture
async def demanding(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an API that demands consents."""
    async with running(settings.model_copy(update={"require_consent": True})) as api:
        yield api.client


async def speak(client: httpx.AsyncClient, voice: str) -> httpx.Response:
    return await client.post("/api/v1/inference", json={"text": "Hello.", "voice": voice})


async def test_a_statement_is_stored_with_who_when_for_what_and_until_when(client: httpx.AsyncClient) -> None:
    consent = await stated(client, expires_at=in_days(30), given_at=in_days(-1))
    listed = (await client.get("/api/v1/consents")).json()["items"]
    single = (await client.get(f"/api/v1/consents/{consent['id']}")).json()

    assert (consent["speaker"], consent["uses"], consent["status"]) == ("Anna", ["audiobooks"], "valid")
    assert consent["given_at"] < consent["created_at"] < consent["expires_at"]
    assert listed == [consent]
    assert single == consent


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"expires_at": "2020-01-01T00:00:00Z"}, "has passed"), ({"given_at": "2100-01-01T00:00:00Z"}, "not come yet")],
)
async def test_times_that_cannot_be_are_rejected(client: httpx.AsyncClient, fields: Any, message: str) -> None:
    response = await client.post("/api/v1/consents", json=STATEMENT | fields)

    assert response.status_code == 400
    assert message in response.json()["error"]["message"]


async def test_nobody_speaks_with_a_voice_whose_speaker_agrees_no_more(
    client: httpx.AsyncClient, records: Records
) -> None:
    voice = await make_voice(records, "Allison")
    consent = await stated(client)
    attached = await client.patch(f"/api/v1/voices/{voice.id}", json={"consent_id": consent["id"]})
    before = await speak(client, "Allison")

    withdrawn = (await client.post(f"/api/v1/consents/{consent['id']}/withdraw")).json()
    again = (await client.post(f"/api/v1/consents/{consent['id']}/withdraw")).json()
    after = await speak(client, "Allison")
    openai = await client.post("/v1/audio/speech", json={"model": "nano", "voice": "Allison", "input": "Hello."})
    export = await client.get(f"/api/v1/voices/{voice.id}/export")

    assert attached.json()["consent_id"] == consent["id"]
    assert before.status_code == 202
    assert withdrawn["status"] == "withdrawn"
    assert again == withdrawn
    assert [response.status_code for response in (after, openai, export)] == [403, 403, 403]
    assert after.json()["error"]["code"] == "consent_required"
    assert "Anna was withdrawn" in after.json()["error"]["message"]
    other = await stated(client)
    await client.patch(f"/api/v1/voices/{voice.id}", json={"consent_id": other["id"]})
    assert (await speak(client, "Allison")).status_code == 202


async def test_a_consent_ends_at_its_time_for_what_waits_in_the_queue_too(settings: Settings) -> None:
    now = [1_000_000.0]
    records = Records(settings.resolved_database_url, clock=lambda: now[0])
    voice = await make_voice(records, "Allison")
    consent = await records.consents.create(
        NewConsentRecord(speaker="Anna", statement="I agree.", source=ConsentSource.STATEMENT, expires_at=now[0] + 60)
    )
    await records.voices.update(voice.id, consent_id=consent.id)
    assert (await records.voices.get_to_speak("Allison")).id == voice.id

    now[0] += 61

    with pytest.raises(ConsentMissing, match="Anna expired at"):
        await records.voices.get_to_speak("Allison")
    await records.close()


async def new_voice(client: httpx.AsyncClient, models: tuple[str, str], **fields: Any) -> httpx.Response:
    recording = (await client.post("/api/v1/files", files={"file": ("a.wav", tone(4.0))})).json()
    prompt = {"name": "default", "file_id": recording["id"], "text": "Hello.", "language": "en"}
    weights = {"gpt_checkpoint_id": models[0], "sovits_checkpoint_id": models[1]}
    return await client.post("/api/v1/voices", json={"name": "Bo", "prompts": [prompt], **weights, **fields})


@pytest.fixture
async def models(records: Records, storage: Storage) -> tuple[str, str]:
    gpt, sovits = [await make_model(records, storage, kind) for kind in ("gpt", "sovits")]
    return gpt.id, sovits.id


@pytest.fixture
def storage(settings: Settings) -> Storage:
    return Storage(settings.storage_root)


async def test_where_it_is_demanded_no_voice_is_published_without_one(
    demanding: httpx.AsyncClient, records: Records, models: tuple[str, str]
) -> None:
    existing = await make_voice(records, "Allison")
    refused = await new_voice(demanding, models)
    task = await demanding.post("/api/v1/tasks", json={"exp_name": "bob", "audio_file_id": "file-unknown"})
    consent = await stated(demanding)
    accepted = await new_voice(demanding, models, consent_id=consent["id"])

    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "consent_required")
    assert task.json()["error"]["code"] == "consent_required", "a training whose voice could not be published"
    assert accepted.status_code == 201, accepted.text
    assert accepted.json()["consent_id"] == consent["id"]
    assert (await speak(demanding, existing.name)).status_code == 202, "voices from before keep working"


async def test_a_withdrawn_consent_is_none(demanding: httpx.AsyncClient, models: tuple[str, str]) -> None:
    consent = await stated(demanding)
    await demanding.post(f"/api/v1/consents/{consent['id']}/withdraw")

    assert (await new_voice(demanding, models, consent_id=consent["id"])).status_code == 403
    assert (await new_voice(demanding, models, consent_id="cons-nobody")).status_code == 404


async def test_a_statement_for_all_voices_or_of_the_operator_is_enough(settings: Settings) -> None:
    rule = ConsentRule(required=True)
    records = Records(settings.resolved_database_url, consent_rule=rule)
    for kind in ("gpt", "sovits"):
        await records.checkpoints.create(
            NewCheckpointRecord(id=f"ckpt-{kind}", kind=kind, version="nano", name=kind, sha256="0" * 64, size_bytes=1)
        )
    weights: dict[str, Any] = {"gpt_checkpoint_id": "ckpt-gpt", "sovits_checkpoint_id": "ckpt-sovits"}
    voice = NewVoiceRecord(name="Bo", version="nano", language="en", prompts=[], owner="bo", **weights)
    with pytest.raises(ConsentMissing):
        await records.voices.create(voice)

    async with running(settings) as api:
        body = {"name": "bo", "scopes": ["admin"], "consent": "My speakers agreed."}
        assert (await api.client.post("/api/v1/keys", json=body)).status_code == 201
    published = await records.voices.create(voice)
    operated = Records(
        settings.resolved_database_url, consent_rule=ConsentRule(required=True, statement="All speakers agreed.")
    )
    other = await operated.voices.create(
        NewVoiceRecord(name="Cy", version="nano", language="en", prompts=[], owner="cy", **weights)
    )

    consents = await records.consents.of_ids([published.consent_id or "", other.consent_id or ""])
    assert {consent.source for consent in consents.values()} == {ConsentSource.OWNER, ConsentSource.SETTING}
    await records.close()
    await operated.close()


async def test_an_exported_voice_brings_its_consent_along(
    client: httpx.AsyncClient, records: Records, storage: Storage
) -> None:
    voice = await make_whole_voice(records, storage, "Carol", tone(2.0))
    without = await client.get(f"/api/v1/voices/{voice.id}/export")
    consent = await stated(client)
    await client.patch(f"/api/v1/voices/{voice.id}", json={"consent_id": consent["id"]})

    response = await client.get(f"/api/v1/voices/{voice.id}/export")

    with zipfile.ZipFile(io.BytesIO(without.content)) as archive:
        assert "consent" not in json.loads(archive.read("voice.json"))
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        entry = json.loads(archive.read("voice.json"))["consent"]
    assert {name: entry[name] for name in STATEMENT} == STATEMENT


async def test_consents_are_seen_by_their_owners_alone(settings: Settings) -> None:
    keys = settings.model_copy(update={"valid_api_keys": ("anna", "bo"), "admin_api_keys": ("admin",)})
    async with running(keys) as api:

        def headers(key: str) -> dict[str, str]:
            return {"Authorization": f"Bearer {key}"}

        created = await api.client.post("/api/v1/consents", json=STATEMENT, headers=headers("anna"))
        path = f"/api/v1/consents/{created.json()['id']}"
        statuses = {key: (await api.client.get(path, headers=headers(key))).status_code for key in keys_of(keys)}
        withdrawn = await api.client.post(f"{path}/withdraw", headers=headers("bo"))

    assert statuses == {"anna": 200, "bo": 404, "admin": 200}
    assert withdrawn.status_code == 404


def keys_of(settings: Settings) -> tuple[str, ...]:
    return (*settings.valid_api_keys, *settings.admin_api_keys)


@pytest.mark.parametrize("how", ["withdrawn", "expired"])
async def test_speech_that_is_being_heard_stops_when_the_consent_ends_whichever_host_hears_of_it(
    settings: Settings, records: Records, tone_workers: ToneWorkers, how: str
) -> None:
    voice = await make_voice(records, "Allison")
    consent = await records.consents.create(
        NewConsentRecord(speaker="Anna", statement="Yes.", source=ConsentSource.STATEMENT)
    )
    await records.voices.update(voice.id, consent_id=consent.id)
    tone_workers.gate.clear()
    watchful = settings.model_copy(update={"consent_check_seconds": 0.05})
    async with running(watchful) as here, running(watchful) as elsewhere:
        async with connect(here.url.replace("http://", "ws://") + "/v1/audio/speech/stream") as socket:
            await socket.send(json.dumps({"type": "text.append", "text": "One is heard. Two is waited for. "}))
            while isinstance(await socket.recv(), str):
                continue
            if how == "withdrawn":
                await elsewhere.client.post(f"/api/v1/consents/{consent.id}/withdraw")
            else:
                async with records.database.write() as connection:
                    await connection.execute(update(consents).values(expires_at=1.0))
            async with asyncio.timeout(30):
                while (message := await socket.recv()) and (isinstance(message, bytes) or "error" not in message):
                    continue
        await eventually(lambda: len(tone_workers.cancelled) > 0, 30)

    assert json.loads(message)["error"]["code"] == "consent_required"
    assert f"Anna {'was withdrawn' if how == 'withdrawn' else 'expired'}" in str(message)


TWO_SENTENCES = "One is heard. Two is waited for. "


async def elevenlabs_session(api: Api, first_audio: asyncio.Event) -> dict[str, object]:
    """Return the error that ends a session of ElevenLabs' protocol."""
    async with connect(f"{api.url.replace('http://', 'ws://')}/v1/text-to-speech/Allison/stream-input") as socket:
        await socket.send(json.dumps({"text": TWO_SENTENCES}))
        message: dict[str, object] = {}
        while "error" not in message:
            message = json.loads(await socket.recv())
            if message.get("audio"):
                first_audio.set()
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1008
    return {"code": message["error"], "message": message["message"]}


async def realtime_session(api: Api, first_audio: asyncio.Event) -> dict[str, object]:
    """Return the error of a response of OpenAI's Realtime API, which is closed as failed."""
    async with connect(f"{api.url.replace('http://', 'ws://')}/v1/realtime?model=gpt-realtime") as socket:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": TWO_SENTENCES}]}
        voice = {"audio": {"output": {"voice": "Allison"}}}
        await socket.send(json.dumps({"type": "session.update", "session": {"type": "realtime", **voice}}))
        await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
        await socket.send(json.dumps({"type": "response.create"}))
        error: dict[str, object] = {}
        while (event := json.loads(await socket.recv()))["type"] != "response.done":
            if event["type"] == "response.output_audio.delta":
                first_audio.set()
            elif event["type"] == "error":
                error = event["error"]
        assert event["response"]["status"] == "failed"
    return error


async def wyoming_session(api: Api, first_audio: asyncio.Event) -> dict[str, object]:
    """Return the error of a stream of Home Assistant's protocol, which is closed."""
    async with AsyncTcpClient("127.0.0.1", api.settings.wyoming_port) as client:
        await client.write_event(SynthesizeStart(voice=SynthesizeVoice(name="Allison")).event())
        await client.write_event(SynthesizeChunk(text=TWO_SENTENCES).event())
        error: dict[str, object] = {}
        while (event := await client.read_event()) is not None and not SynthesizeStopped.is_type(event.type):
            if AudioChunk.is_type(event.type):
                first_audio.set()
            elif event.type == "error":
                error = {"code": event.data["code"], "message": event.data["text"]}
        assert event is not None
    return error


@pytest.mark.parametrize("session", [elevenlabs_session, realtime_session, wyoming_session])
async def test_sessions_of_other_protocols_end_when_the_consent_ends(
    settings: Settings,
    records: Records,
    tone_workers: ToneWorkers,
    unused_tcp_port: int,
    session: Callable[[Api, asyncio.Event], Coroutine[Any, Any, dict[str, object]]],
) -> None:
    voice = await make_voice(records, "Allison")
    consent = await records.consents.create(
        NewConsentRecord(speaker="Anna", statement="Yes.", source=ConsentSource.STATEMENT)
    )
    await records.voices.update(voice.id, consent_id=consent.id)
    tone_workers.gate.clear()
    first_audio = asyncio.Event()
    watchful = settings.model_copy(update={"consent_check_seconds": 0.05, "wyoming_port": unused_tcp_port})
    async with running(watchful) as api, asyncio.timeout(60):
        listening = asyncio.create_task(session(api, first_audio))
        await first_audio.wait()
        await api.client.post(f"/api/v1/consents/{consent.id}/withdraw")
        error = await listening
        await eventually(lambda: len(tone_workers.cancelled) > 0, 30)

    assert error["code"] == "consent_required"
    assert "Anna was withdrawn" in str(error["message"])
