"""The key is checked before the body is read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from api_support import Api, ToneWorkers, running

from core.records import VoiceRecord
from core.settings import Settings

ANNOUNCED_BYTES = 400 << 20
PATHS = [
    "/api/v1/files",
    "/api/v1/voices/import",
    "/api/v1/task/t/files/upload",
    "/api/v1/tasks",
    "/api/v1/voices/batch",
    "/v1/audio/speech",
]


@pytest.fixture
async def keyed(settings: Settings) -> AsyncIterator[Api]:
    async with running(settings.model_copy(update={"valid_api_keys": ("k1",)})) as api:
        yield api


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("framing", [f"Content-Length: {ANNOUNCED_BYTES}", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("key", ["", "X-API-Key: wrong\r\n"])
async def test_a_request_without_a_valid_key_is_rejected_before_any_byte_of_its_body(
    keyed: Api, path: str, framing: str, key: str
) -> None:
    status, _ = await _send_head(keyed, path, f"{framing}\r\nContent-Type: application/json\r\n{key}")

    assert status == 401


async def test_a_client_that_waits_for_permission_to_send_gets_none(keyed: Api) -> None:
    head = f"Content-Length: {ANNOUNCED_BYTES}\r\nExpect: 100-continue\r\n"

    status, headers = await _send_head(keyed, "/api/v1/files", head)

    assert status == 401
    assert "www-authenticate: bearer" in headers.lower()


async def test_an_idempotency_key_does_not_make_the_server_read_a_body_without_a_key(keyed: Api) -> None:
    head = f"Content-Length: {1 << 20}\r\nContent-Type: application/json\r\nIdempotency-Key: i1\r\n"

    status, _ = await _send_head(keyed, "/api/v1/tasks", head)

    assert status == 401


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_that_may_hold_the_key_is_read_up_to_a_mebibyte(keyed: Api, announced: bool) -> None:
    body = b'{"apikey": "k1", "target": "' + b"a" * (1 << 20) + b'"}'

    response = await keyed.client.post("/synthesize", content=body if announced else _chunks(body))

    assert response.status_code == 400
    assert "larger than 1 MiB" in response.json()["detail"]


async def test_a_key_in_the_header_allows_the_usual_size(keyed: Api) -> None:
    body = b'{"target": "' + b"a" * (1 << 20) + b'"}'
    headers = {"X-API-Key": "k1", "Content-Type": "application/json"}

    response = await keyed.client.post("/synthesize", content=body, headers=headers)

    assert response.status_code == 400
    assert "characters" in response.json()["detail"]


async def test_a_key_in_the_body_still_lets_its_caller_in(
    keyed: Api, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    body = {"apikey": "k1", "target": "Hello.", "voice": "Allison"}

    assert (await keyed.client.post("/synthesize", json=body)).status_code == 200


async def test_without_any_key_bodies_are_read_as_before(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/v1/files", files={"file": ("a.txt", b"no audio")})

    assert response.status_code != 401


async def _send_head(api: Api, path: str, headers: str) -> tuple[int, str]:
    """Send the head of a POST and no byte of its body; return the status and the head of the response."""
    host, port = api.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{headers}\r\n".encode())
        await writer.drain()
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode()
    finally:
        writer.close()
    return int(head.split()[1]), head


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 1 << 16):
        yield content[start : start + (1 << 16)]
