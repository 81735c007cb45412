"""HEAD wherever GET is."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from api_support import Api, ToneWorkers, eventually, gauge_value, upload

from core.records import VoiceRecord

PATHS = (
    "/",
    "/voices",
    "/docs",
    "/openapi.json",
    "/favicon.ico",
    "/healthz",
    "/metrics",
    "/v1/models",
    "/api/v1/tasks",
)
VARYING = {"x-request-id", "date", "content-length"}


@pytest.mark.parametrize("path", PATHS)
async def test_head_has_the_status_and_headers_of_get_and_no_body(api: Api, path: str) -> None:
    got = await api.client.get(path)
    head = await api.client.head(path)

    assert (head.status_code, head.content) == (200, b"")
    assert got.content
    assert {name: value for name, value in head.headers.items() if name not in VARYING} == {
        name: value for name, value in got.headers.items() if name not in VARYING
    }


async def test_head_of_a_file_says_its_size_and_takes_ranges(api: Api) -> None:
    file = await upload(api.client)
    path = f"/api/v1/files/{file['id']}"

    head = await api.client.head(path)
    part = await api.client.head(path, headers={"Range": "bytes=0-99"})

    assert int(head.headers["content-length"]) == file["size_bytes"]
    assert head.headers["accept-ranges"] == "bytes"
    assert (part.status_code, part.headers["content-length"]) == (206, "100")
    assert head.content == part.content == b""


async def test_head_of_finished_speech_says_its_size(api: Api, tone_workers: ToneWorkers, voice: VoiceRecord) -> None:
    url = (await api.client.post("/synthesize", json={"target": "Hello there.", "voice": "Allison"})).json()

    head = await api.client.head(url["download_url"])
    got = await api.client.get(url["download_url"])

    assert (head.status_code, head.headers["content-type"]) == (200, "audio/wav")
    assert int(head.headers["content-length"]) == len(got.content)


async def test_head_of_an_event_stream_ends_it(api: Api) -> None:
    file_id = (await upload(api.client))["id"]
    task = (await api.client.post("/api/v1/tasks", json={"exp_name": "bob", "audio_file_id": file_id})).json()

    head = await asyncio.wait_for(api.client.head(f"/api/v1/tasks/{task['id']}/progress"), 5)

    assert head.headers["content-type"].startswith("text/event-stream")
    await eventually(lambda: gauge_value(api.services.metrics.watchers) == 0)


async def test_head_is_rejected_where_get_is(api: Api) -> None:
    unknown, missing, only_post = [
        await api.client.head(path) for path in ("/nowhere", "/api/v1/tasks/task-none", "/synthesize")
    ]

    assert [response.status_code for response in (unknown, missing, only_post)] == [404, 404, 400]
    assert {response.content for response in (unknown, missing, only_post)} == {b""}


async def test_the_connection_goes_on_after_a_head(api: Api) -> None:
    async with httpx.AsyncClient(base_url=api.url, limits=httpx.Limits(max_connections=1)) as client:
        statuses = [(await client.request(method, "/voices")).status_code for method in ("HEAD", "GET", "HEAD", "GET")]

    assert statuses == [200] * 4
