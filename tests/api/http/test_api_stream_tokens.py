"""Tokens in the URL of a stream, for browsers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from api_support import Api, running, upload

from api.http.sse import EventStream
from api.http.stream_tokens import STREAM_PATHS, TOKEN_SECONDS
from core.records import Records
from core.settings import Settings

KEY = {"X-API-Key": "k1"}


@pytest.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    async with running(settings.model_copy(update={"valid_api_keys": ("k1",)})) as running_api:
        yield running_api


async def create_token(client: httpx.AsyncClient, headers: dict[str, str], **body: Any) -> str:
    response = await client.post("/api/v1/stream-tokens", json=body, headers=headers)
    assert response.status_code == 201, response.text
    assert response.json()["expires_in"] == TOKEN_SECONDS
    return str(response.json()["token"])


async def cancelled_task(client: httpx.AsyncClient) -> str:
    client.headers.update(KEY)
    file_id = (await upload(client))["id"]
    task = (await client.post("/api/v1/tasks", json={"exp_name": "bob", "audio_file_id": file_id})).json()
    await client.delete(f"/api/v1/tasks/{task['id']}")
    del client.headers["X-API-Key"]
    return str(task["id"])


async def test_a_token_opens_a_stream_and_nothing_else(api: Api) -> None:
    task_id = await cancelled_task(api.client)
    token = await create_token(api.client, KEY)
    paths = (
        f"/api/v1/tasks/{task_id}/progress?token={token}",
        f"/api/v1/tasks/{task_id}/progress?token={token}x",
        f"/api/v1/tasks/{task_id}/progress",
        f"/api/v1/tasks/{task_id}?token={token}",
        f"/api/v1/files?token={token}",
    )
    responses = [await api.client.get(path) for path in paths]
    deleted = await api.client.delete(f"/api/v1/tasks/{task_id}?token={token}")
    as_header = await api.client.get("/api/v1/tasks", headers={"X-API-Key": token})

    assert [response.status_code for response in responses] == [200, 401, 401, 401, 401]
    assert responses[0].headers["content-type"].startswith("text/event-stream")
    assert "event: cancelled" in responses[0].text
    assert (deleted.status_code, as_header.status_code) == (401, 401)


async def test_a_token_has_the_one_scope_that_was_asked_for(api: Api) -> None:
    task_id = await cancelled_task(api.client)
    speaking = await create_token(api.client, KEY, scope="speak")
    admin = await api.client.post("/api/v1/stream-tokens", json={"scope": "admin"}, headers=KEY)

    response = await api.client.get(f"/api/v1/tasks/{task_id}/progress?token={speaking}")

    assert (response.status_code, admin.status_code) == (403, 403)


async def test_a_token_ends_with_its_time_and_with_its_key(api: Api, records: Records) -> None:
    task_id = await cancelled_task(api.client)
    path = f"/api/v1/tasks/{task_id}/progress"
    expired = await create_token(api.client, KEY)
    [entry] = [key async for key in api.services.redis.scan_iter(f"{api.settings.redis_prefix}stream-token:*")]
    assert 0 < await api.services.redis.ttl(entry) <= TOKEN_SECONDS
    await api.services.redis.delete(entry)
    _, key = await records.api_keys.create("phone")
    api.services.keys.forget()
    revoked = await create_token(api.client, {"X-API-Key": key})
    await records.api_keys.revoke("phone")
    api.services.keys.forget()

    statuses = [(await api.client.get(f"{path}?token={token}")).status_code for token in (expired, revoked)]

    assert statuses == [401, 401]
    assert expired not in str(entry)


async def test_without_keys_a_token_is_created_and_accepted(client: httpx.AsyncClient) -> None:
    token = await create_token(client, {})

    assert (await client.get(f"/api/v1/tasks/task-none/progress?token={token}")).status_code == 404


def test_every_stream_takes_a_token(api: Api) -> None:
    operations = api.app.openapi()["paths"]
    streams = [
        path
        for path, methods in operations.items()
        if EventStream.media_type in methods.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
    ]

    assert len(streams) >= 10
    assert [path for path in streams if not STREAM_PATHS.fullmatch(path)] == []
