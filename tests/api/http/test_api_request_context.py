"""The id of a request, and the address of its client behind proxies."""

from __future__ import annotations

import httpx
import pytest
from api_support import upload
from fastapi import FastAPI

from api.app import create_app
from api.http.request_context import TrustedProxies
from core.settings import Settings


@pytest.mark.parametrize(
    "request_id", ["a", "0af7651916cd43dd8448eb211c80319c", "Root=1-67891233-abc@host/x:1", "x" * 128]
)
async def test_the_id_of_a_request_is_returned(client: httpx.AsyncClient, request_id: str) -> None:
    response = await client.get("/api/v1/nowhere", headers={"X-Request-ID": request_id})

    assert response.headers["x-request-id"] == request_id


@pytest.mark.parametrize("request_id", ["", "x" * 129, "two words", "-x", "a;b", 'a"b'])
async def test_an_id_that_is_too_long_or_has_other_characters_is_replaced(
    client: httpx.AsyncClient, request_id: str
) -> None:
    response = await client.get("/api/v1/tasks", headers={"X-Request-ID": request_id})

    assert response.headers["x-request-id"].startswith("req-")


async def test_every_response_has_an_id_of_its_own(client: httpx.AsyncClient) -> None:
    paths = ("/healthz", "/api/v1/tasks", "/api/v1/nowhere", "/api/v1/tasks?limit=0")
    ids = [(await client.get(path)).headers["x-request-id"] for path in paths]
    ids.append((await client.get("/", headers={"Host": "evil.example"})).headers["x-request-id"])
    ids.append((await client.post("/", headers={"Origin": "https://evil.example"})).headers["x-request-id"])

    assert len(set(ids)) == len(ids)


async def test_an_unexpected_error_has_the_id(settings: Settings) -> None:
    app: FastAPI = create_app(settings)

    @app.get("/faulty")
    async def faulty() -> None:
        raise RuntimeError("secret")

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        response = await client.get("/faulty", headers={"X-Request-ID": "mine"})

    assert (response.status_code, response.headers["x-request-id"]) == (500, "mine")


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", "198.51.100.1", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "not an address", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("::ffff:10.0.0.1", "2001:db8::1", "2001:db8::1"),
    ],
)
def test_the_client_is_the_last_address_that_is_no_trusted_proxy(peer: str, forwarded: str, address: str) -> None:
    proxies = TrustedProxies(["10.0.0.0/8"])
    scope = {"type": "http", "client": (peer, 1), "headers": [(b"x-forwarded-for", forwarded.encode())]}

    assert proxies.client_address(scope) == address


async def test_jobs_name_the_request_that_created_them(client: httpx.AsyncClient) -> None:
    body = {"name": "set", "file_ids": [(await upload(client))["id"]]}
    created = await client.post("/api/v1/datasets", json=body, headers={"X-Request-ID": "mine-1"})
    jobs = (await client.get("/api/v1/jobs")).json()["items"]
    job = (await client.get(f"/api/v1/jobs/{jobs[0]['id']}")).json()

    assert created.status_code == 201, created.text
    assert [item["request_id"] for item in jobs] == ["mine-1"]
    assert job["request_id"] == "mine-1"
