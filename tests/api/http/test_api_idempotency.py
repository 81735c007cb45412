"""A POST that is sent again with its key gets the answer of the first, and makes nothing new."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from api_support import Api, eventually, tone
from fastapi import FastAPI

from api.app import create_app
from api.http.idempotency import IdempotencyMiddleware
from api.http.request_body import BoundaryHash
from core.jobs.idempotency import LEASE_SECONDS, EarlierRequest, IdempotencyKeys, RequestClaim
from core.jobs.queue import AsyncQueue
from core.records import NewFileRecord, Records
from core.settings import Settings

Posted = dict[str, Any]


@pytest.fixture
async def recording(records: Records) -> str:
    """Return the id of a file that nobody will open."""
    file = await records.files.create(
        NewFileRecord(id="file-a", filename="a.wav", purpose="training", size_bytes=1, sha256="0" * 64)
    )
    return file.id


@pytest.fixture
def store(queue: AsyncQueue) -> IdempotencyKeys:
    return IdempotencyKeys(queue)


def task(recording: str, **more: Any) -> Posted:
    return {"exp_name": "bob", "audio_file_id": recording, **more}


async def total(client: httpx.AsyncClient, path: str) -> int:
    return int((await client.get(f"/api/v1/{path}")).json()["total"])


async def test_fifty_parallel_creates_with_one_key_make_one_task(client: httpx.AsyncClient, recording: str) -> None:
    body = task(recording)

    responses = await asyncio.gather(
        *(client.post("/api/v1/tasks", json=body, headers={"Idempotency-Key": "k"}) for _ in range(50))
    )

    assert {response.status_code for response in responses} == {201}
    assert len({response.content for response in responses}) == 1
    assert await total(client, "tasks") == 1
    assert sum("idempotent-replayed" in response.headers for response in responses) == 49


async def test_fifty_parallel_creates_at_two_hosts_make_one_task(
    settings: Settings, client: httpx.AsyncClient, recording: str
) -> None:
    other = create_app(settings)
    transport = httpx.ASGITransport(other, raise_app_exceptions=False)
    async with (
        other.router.lifespan_context(other),
        httpx.AsyncClient(transport=transport, base_url="http://localhost:1") as there,
    ):
        responses = await asyncio.gather(
            *(
                at.post("/api/v1/tasks", json=task(recording, idempotency_key="k"))
                for _ in range(25)
                for at in (client, there)
            )
        )

    assert {response.status_code for response in responses} == {201}
    assert len({response.json()["id"] for response in responses}) == 1
    assert await total(client, "tasks") == 1


async def test_fifty_keys_make_fifty_tasks(client: httpx.AsyncClient, recording: str) -> None:
    await asyncio.gather(
        *(client.post("/api/v1/tasks", json=task(recording, idempotency_key=f"k{n}")) for n in range(50))
    )

    assert await total(client, "tasks") == 50


async def test_it_works_for_what_knows_nothing_of_it(client: httpx.AsyncClient) -> None:
    body = {"url": "http://93.184.216.34/hook"}

    first = await client.post("/api/v1/webhooks", json={**body, "idempotency_key": "k"})
    second = await client.post("/api/v1/webhooks", json=body, headers={"Idempotency-Key": "k"})

    assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert await total(client, "webhooks") == 1


async def test_the_order_of_the_fields_makes_no_other_request(client: httpx.AsyncClient, recording: str) -> None:
    first = await client.post("/api/v1/tasks", json=task(recording, idempotency_key="k"))
    turned = dict(reversed(task(recording, idempotency_key="k").items()))

    assert (await client.post("/api/v1/tasks", json=turned)).json() == first.json()


async def test_the_same_key_with_another_body_is_rejected(client: httpx.AsyncClient, recording: str) -> None:
    await client.post("/api/v1/tasks", json=task(recording, idempotency_key="k"))

    response = await client.post("/api/v1/tasks", json=task(recording, idempotency_key="k", priority=9))

    assert response.status_code == 422
    assert response.json()["error"]["code"] == "idempotency_key_reused"
    assert "'k' came with another request" in response.json()["error"]["message"]
    assert await total(client, "tasks") == 1


async def test_the_same_key_elsewhere_is_another_key(client: httpx.AsyncClient, recording: str) -> None:
    await client.post("/api/v1/tasks", json=task(recording, idempotency_key="k"))

    response = await client.post("/api/v1/webhooks", json={"url": "http://93.184.216.34/", "idempotency_key": "k"})

    assert response.status_code == 201


async def test_two_callers_with_the_same_key_do_not_meet(settings: Settings, records: Records, recording: str) -> None:
    keys = [(await records.api_keys.create(name))[1] for name in ("a", "b")]
    app = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        responses = [
            await client.post("/api/v1/tasks", json=task(recording, idempotency_key="k"), headers={"X-API-Key": key})
            for key in keys
        ]
        without_key = await client.post("/api/v1/tasks", json=task(recording, idempotency_key="k"))

    assert responses[0].json()["id"] != responses[1].json()["id"]
    assert without_key.status_code == 401


async def test_a_request_that_failed_may_be_sent_again(client: httpx.AsyncClient, records: Records) -> None:
    body = task("file-later", idempotency_key="k")
    rejected = await client.post("/api/v1/tasks", json=body)
    await records.files.create(
        NewFileRecord(id="file-later", filename="a.wav", purpose="training", size_bytes=1, sha256="0" * 64)
    )

    again = await client.post("/api/v1/tasks", json=body)

    assert (rejected.status_code, again.status_code) == (404, 201)


async def test_a_request_still_under_way_is_waited_for_and_then_rejected(
    store: IdempotencyKeys, settings: Settings, recording: str
) -> None:
    app = create_app(settings)
    app.user_middleware = [
        item for item in app.user_middleware if item.cls is not IdempotencyMiddleware
    ]  # `slow` stands for it
    entered, leave = asyncio.Event(), asyncio.Event()
    slow = IdempotencyMiddleware(Held(app, entered, leave), wait_seconds=0.05)
    transport = httpx.ASGITransport(Within(app, slow), raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        body = task(recording)
        headers = {"Idempotency-Key": "k"}
        first = asyncio.create_task(client.post("/api/v1/tasks", json=body, headers=headers))
        await entered.wait()

        meanwhile = await client.post("/api/v1/tasks", json=body, headers=headers)
        other = await client.post("/api/v1/tasks", json={**body, "priority": 1}, headers=headers)
        leave.set()
        answered = await first
        after = await client.post("/api/v1/tasks", json=body, headers=headers)

    assert meanwhile.status_code == 409
    assert meanwhile.json()["error"]["code"] == "idempotency_key_in_use"
    assert other.status_code == 422
    assert (answered.status_code, after.status_code) == (201, 201)
    assert after.json() == answered.json()


class Held:
    """Lets a request in and answers when the test says so."""

    def __init__(self, app: FastAPI, entered: asyncio.Event, leave: asyncio.Event) -> None:
        self.app, self.entered, self.leave = app, entered, leave

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.entered.set()
        await self.leave.wait()
        await self.app(scope, receive, send)


class Within:
    """Puts the application into the scope, as the application itself would."""

    def __init__(self, app: FastAPI, inner: IdempotencyMiddleware) -> None:
        self.app, self.inner = app, inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.inner({**scope, "app": self.app}, receive, send)


async def test_the_key_of_a_request_whose_process_died_is_free_after_its_lease(
    store: IdempotencyKeys, queue: AsyncQueue
) -> None:
    dead = await store.claim("k", "body")
    assert isinstance(dead, RequestClaim)
    assert isinstance(await store.claim("k", "body"), EarlierRequest)

    key = queue.key("request:k")
    redis = queue.transport.client
    await redis.hset(key, "until", float(await redis.hget(key, "until") or "nan") - LEASE_SECONDS)
    next_one = await store.claim("k", "body")
    await store.store_response(dead, "body", "late")

    assert isinstance(next_one, RequestClaim)
    assert await store.claim("k", "body") == EarlierRequest("body", None)
    await store.store_response(next_one, "body", "an answer")
    assert await store.claim("k", "body") == EarlierRequest("body", "an answer")
    assert 0 < await queue.transport.client.ttl(key) <= 86_400


async def test_a_request_that_takes_long_keeps_its_key(store: IdempotencyKeys, queue: AsyncQueue) -> None:
    claim = await store.claim("k")
    assert isinstance(claim, RequestClaim)
    key = queue.key("request:k")
    await queue.transport.client.hset(key, "until", 1.0)

    await store.renew(claim)

    assert await store.claim("k") == EarlierRequest("", None)


async def test_a_task_is_found_by_its_key_even_when_redis_forgot_the_answer(
    client: httpx.AsyncClient, recording: str, queue: AsyncQueue
) -> None:
    body = task(recording, idempotency_key="k")
    first = await client.post("/api/v1/tasks", json=body)
    async for key in queue.transport.client.scan_iter(queue.key("request:*")):
        await queue.transport.client.delete(key)

    assert (await client.post("/api/v1/tasks", json=body)).json()["id"] == first.json()["id"]


async def test_a_secret_in_a_response_is_not_readable_in_redis(api: Api) -> None:
    secret = "whsec_" + base64.b64encode(b"a secret that the caller chose").decode()
    content: Posted = {"json": {"url": "https://8.8.8.8/ended", "secret": secret}, "headers": {"Idempotency-Key": "k"}}
    webhook = await api.client.post("/api/v1/webhooks", **content)
    key_content: Posted = {"json": {"name": "ann", "scopes": ["admin"]}, "headers": {"Idempotency-Key": "k"}}
    key = (await api.client.post("/api/v1/keys", **key_content)).json()["key"]

    fields = [
        value
        async for name in api.services.redis.scan_iter(f"{api.settings.redis_prefix}request:*")
        for value in (await api.services.redis.hgetall(name)).values()
    ]

    replayed = await api.client.post(
        "/api/v1/webhooks", **{**content, "headers": content["headers"] | {"X-API-Key": key}}
    )
    assert webhook.json()["secret"] == secret
    assert len(fields) > 8
    for readable in (secret, key, webhook.json()["id"]):
        assert not any(readable in str(field) for field in fields)
    assert replayed.status_code == 201


@pytest.mark.parametrize("key", ["", None])
async def test_an_empty_key_is_none(client: httpx.AsyncClient, recording: str, key: str | None) -> None:
    for _ in range(2):
        await client.post("/api/v1/tasks", json=task(recording, idempotency_key=key))

    assert await total(client, "tasks") == 2


@pytest.mark.parametrize("key", [5, ["k"], "x" * 201, "two\nlines"])
async def test_a_key_that_cannot_be_one_is_rejected(client: httpx.AsyncClient, recording: str, key: Any) -> None:
    response = await client.post("/api/v1/tasks", json=task(recording, idempotency_key=key))

    assert response.status_code == 422
    assert response.json()["error"]["code"] == "idempotency_key_unusable"


async def test_two_keys_at_once_are_rejected(client: httpx.AsyncClient, recording: str) -> None:
    body = task(recording, idempotency_key="k1")

    response = await client.post("/api/v1/tasks", json=body, headers={"Idempotency-Key": "k2"})

    assert response.status_code == 422


async def test_a_body_that_is_no_json_is_still_rejected_by_its_route(client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}

    response = await client.post("/api/v1/tasks", content=b'{"idempotency_key": ', headers=headers)

    assert response.status_code == 400
    assert "no JSON" in response.json()["error"]["message"]


async def test_a_body_that_is_too_large_is_still_rejected(api: Api) -> None:
    headers = {"Idempotency-Key": "k", "Content-Type": "application/json"}

    response = await api.client.post("/api/v1/tasks", content=b" " * (5 << 20), headers=headers)

    assert response.status_code == 413


async def test_without_redis_a_request_with_a_key_is_asked_to_come_back(settings: Settings, recording: str) -> None:
    app = create_app(settings, "redis://127.0.0.1:1/0")
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        response = await client.post("/api/v1/tasks", json=task(recording, idempotency_key="k"))

    assert response.status_code == 503


def upload(content: bytes, name: str = "a.wav") -> Posted:
    return {"files": {"file": (name, content)}, "headers": {"Idempotency-Key": "k"}}


async def test_an_upload_that_is_sent_again_is_the_same_file(client: httpx.AsyncClient) -> None:
    content = tone(2.0)

    first = await client.post("/api/v1/files", **upload(content))
    again = await client.post("/api/v1/files", **upload(content))  # with another boundary

    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert await total(client, "files") == 1


async def test_another_upload_with_the_same_key_is_rejected(client: httpx.AsyncClient) -> None:
    await client.post("/api/v1/files", **upload(tone(2.0)))

    response = await client.post("/api/v1/files", **upload(tone(3.0)))

    assert response.status_code == 422
    assert response.json()["error"]["code"] == "idempotency_key_reused"
    assert await total(client, "files") == 1


async def test_the_same_upload_twice_at_once_is_one_file(api: Api) -> None:
    gate = asyncio.Event()
    content = tone(30.0)

    def parts(boundary: bytes) -> tuple[bytes, bytes]:
        head = b'\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
        return b"--" + boundary + head, content + b"\r\n--" + boundary + b"--\r\n"

    async def slowly() -> AsyncIterator[bytes]:
        head, rest = parts(b"one")
        yield head + rest[:10_000]
        await gate.wait()
        yield rest[10_000:]

    def headers(boundary: str) -> dict[str, str]:
        return {"Idempotency-Key": "k", "Content-Type": f"multipart/form-data; boundary={boundary}"}

    post = api.client.post
    first = asyncio.create_task(post("/api/v1/files", content=slowly(), headers=headers("one")))
    await eventually(lambda: _is_under_way(api))
    second = asyncio.create_task(post("/api/v1/files", content=b"".join(parts(b"two")), headers=headers("two")))
    gate.set()

    responses = [await first, await second]

    assert [response.status_code for response in responses] == [201, 201]
    assert responses[0].json() == responses[1].json()


async def _is_under_way(api: Api) -> bool:
    prefix = api.settings.redis_prefix
    return bool([key async for key in api.services.redis.scan_iter(f"{prefix}request:*")])


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_boundary_changes_no_fingerprint_however_the_body_is_cut(size: int) -> None:
    def fingerprint(boundary: bytes, content: bytes) -> str:
        created = BoundaryHash(boundary)
        body = b"--" + boundary + b"\r\n" + content + b"\r\n--" + boundary + b"--"
        for first in range(0, len(body), size):
            created.update(body[first : first + size])
        return created.hexdigest()

    same = {fingerprint(boundary, b"content") for boundary in (b"--aaaa", b"--another", b"x")}

    assert len(same) == 1
    assert fingerprint(b"--aaaa", b"contents") not in same


async def test_a_request_without_a_body_is_remembered_too(settings: Settings) -> None:
    calls = []

    async def promote(scope: Any, receive: Any, send: Any) -> None:
        calls.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b"{}", "more_body": False})

    app = create_app(settings)
    transport = httpx.ASGITransport(Within(app, IdempotencyMiddleware(promote)), raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        for _ in range(2):
            await client.post("/api/v1/models/m/promote", headers={"Idempotency-Key": "k"})

    assert len(calls) == 1


async def test_an_answer_that_is_no_json_is_passed_on_and_not_remembered(settings: Settings) -> None:
    calls = []

    async def speak(scope: Any, receive: Any, send: Any) -> None:
        calls.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"audio/wav")]})
        await send({"type": "http.response.body", "body": b"sound", "more_body": False})

    app = create_app(settings)
    transport = httpx.ASGITransport(Within(app, IdempotencyMiddleware(speak)), raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
    ):
        headers = {"Idempotency-Key": "k"}
        responses = [await client.post("/api/v1/speak", json={"text": "Hello."}, headers=headers) for _ in range(2)]

    assert [response.content for response in responses] == [b"sound", b"sound"]
    assert len(calls) == 2
