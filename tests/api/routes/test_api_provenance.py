"""Every speech has a record: who spoke what, with which checkpoints, in which request."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from api_support import Api, ToneWorkers, eventually, make_voice, running
from recorded_speech import recorded_speech

from core.jobs.queue import AsyncQueue
from core.records import Records
from core.settings import Settings
from supervisor.maintenance import records_retention

TEXT = "Hello there. How are you today."


@pytest.fixture
def marking(settings: Settings) -> Settings:
    return settings.model_copy(
        update={
            "mark_watermark": True,
            "mark_metadata": True,
            "valid_api_keys": ("anna", "bo"),
            "admin_api_keys": ("admin",),
        }
    )


@pytest.fixture
async def speaking(marking: Settings, queue: AsyncQueue, records: Records) -> AsyncIterator[Api]:
    async with recorded_speech(marking, queue, records) as api:
        yield api


def key(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}"}


async def speak(api: Api, **fields: Any) -> httpx.Response:
    body = {"model": "nano", "voice": "Allison", "input": TEXT, "response_format": "wav", **fields}
    response = await api.client.post("/v1/audio/speech", json=body, headers=key("anna"))
    assert response.status_code == 200, response.text
    return response


async def recorded(api: Api, request_id: str, name: str = "anna") -> Any:
    """Return the records of a request, which are written behind its stream."""

    async def look() -> Any:
        response = await api.client.get(f"/api/v1/provenance/{request_id}", headers=key(name))
        return response.json()["items"] if response.status_code == 200 else None

    return await eventually(look)


async def test_a_speech_is_recorded_found_by_its_mark_and_deleted_on_request(speaking: Api) -> None:
    response = await speak(speaking, seed=7)
    request_id = orjson.loads(response.headers["x-aigc"])["ProduceID"]

    [record] = await recorded(speaking, request_id)
    detection = (await speaking.client.post("/api/v1/detect", files={"file": ("a.wav", response.content)})).json()
    path = f"/api/v1/provenance/{request_id}"
    by_mark = {"mark_id": detection["watermark"]["mark_id"]}
    listed = (await speaking.client.get("/api/v1/provenance", params=by_mark, headers=key("anna"))).json()
    others = await speaking.client.get(path, headers=key("bo"))
    not_theirs = await speaking.client.delete(path, headers=key("bo"))
    admin = await speaking.client.get(path, headers=key("admin"))
    deleted = await speaking.client.delete(path, headers=key("anna"))

    assert (record["voice_name"], record["text"]) == ("Allison", None)
    assert (record["gpt_sha256"], record["sovits_sha256"]) == ("0" * 64, "0" * 64)
    assert record["text_sha256"] == hashlib.sha256(TEXT.encode()).hexdigest()
    assert record["seconds"] > 6
    assert record["mark_id"] == detection["watermark"]["mark_id"]
    assert detection["watermark"]["requests"] == [{"request_id": request_id, "time": detection["time"]}]
    assert (detection["request_id"], detection["own"], detection["layers"]) == (
        request_id,
        True,
        ["watermark", "aigc", "c2pa"],
    )
    assert (detection["producer"], detection["confidence"], detection["c2pa"]["state"]) == ("sovitsd", 1.0, "own")
    assert [item["id"] for item in listed["items"]] == [record["id"]]
    assert (others.status_code, not_theirs.status_code, admin.status_code) == (404, 404, 200)
    assert deleted.json() == {"deleted": 1}
    assert (await speaking.client.get(path, headers=key("anna"))).status_code == 404


async def test_old_records_are_deleted_and_the_text_is_kept_by_setting(
    settings: Settings, records: Records, tone_workers: ToneWorkers
) -> None:
    keeping = settings.model_copy(update={"provenance_text": "text", "provenance_days": 10.0})
    await make_voice(records, "Allison")
    async with running(keeping) as api:
        response = await api.client.post("/v1/audio/speech", json={"voice": "Allison", "input": TEXT})
        assert response.status_code == 200, response.text
    [record] = (await records.provenance.page(10, 0)).items  # written before the API ended
    later = Records(settings.resolved_database_url)
    [deleting] = records_retention(keeping, later)
    await deleting.run()
    kept = (await later.provenance.page(10, 0)).total
    [deleting] = records_retention(keeping.model_copy(update={"provenance_days": 1e-9}), later)
    await deleting.run()

    assert record.text == TEXT
    assert (kept, (await later.provenance.page(10, 0)).total) == (1, 0)
    assert records_retention(keeping.model_copy(update={"provenance_days": 0.0}), later) == ()
    await later.close()


async def test_without_provenance_days_nothing_is_recorded(
    settings: Settings, records: Records, tone_workers: ToneWorkers
) -> None:
    await make_voice(records, "Allison")
    async with running(settings.model_copy(update={"provenance_days": 0.0})) as api:
        response = await api.client.post("/v1/audio/speech", json={"voice": "Allison", "input": TEXT})
        assert response.status_code == 200

    assert (await records.provenance.page(10, 0)).total == 0
