"""What pages of other sites may read and do."""

from __future__ import annotations

import httpx
import pytest
from api_support import Api, make_voice, running, upload
from starlette.requests import Request

from core.settings import Settings

LOOPBACK = ("http://localhost:3000", "http://127.0.0.1:5173", "https://[::1]:1", "http://app.localhost")
FOREIGN = ("https://evil.example", "http://localhost.evil.example", "http://127.0.0.1.evil.example", "file://")
SETTINGS = "/api/v1/resources/config"


def preflight(origin: str, method: str = "POST") -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type",
    }


async def create_experiment(client: httpx.AsyncClient, file_id: str, **headers: str) -> httpx.Response:
    body = {"exp_name": "bob", "audio_file_id": file_id}
    return await client.post("/api/v1/experiments", json=body, headers=headers)


@pytest.mark.parametrize("origin", LOOPBACK)
async def test_pages_of_this_machine_may_read_and_change(client: httpx.AsyncClient, origin: str) -> None:
    read = await client.get("/api/v1/tasks", headers={"Origin": origin})
    changed = await client.post("/api/v1/tasks", json={}, headers={"Origin": origin})
    allowed = await client.options("/api/v1/tasks", headers=preflight(origin))

    assert (read.status_code, changed.status_code, allowed.status_code) == (200, 422, 204)
    for response in (read, changed, allowed):
        assert response.headers["access-control-allow-origin"] == origin
        assert "Origin" in response.headers["vary"]
    assert allowed.headers["access-control-allow-headers"] == "authorization,content-type"
    assert "POST" in allowed.headers["access-control-allow-methods"]


@pytest.mark.parametrize("origin", FOREIGN)
async def test_pages_of_other_sites_change_nothing_without_keys(client: httpx.AsyncClient, origin: str) -> None:
    file_id = (await upload(client))["id"]
    created = await create_experiment(client, file_id, Origin=origin)
    deleted = await client.delete(f"/api/v1/files/{file_id}", headers={"Origin": origin})
    read = await client.get("/api/v1/tasks", headers={"Origin": origin})
    preflight_response = await client.options("/api/v1/tasks", headers=preflight(origin))

    assert (created.status_code, deleted.status_code, preflight_response.status_code) == (403, 403, 403)
    assert created.json()["error"]["code"] == "forbidden_origin"
    assert "CORS_ORIGINS" in created.json()["error"]["hint"]
    assert not any(
        "access-control-allow-origin" in response.headers for response in (created, deleted, read, preflight_response)
    )
    assert (await client.get("/api/v1/experiments")).json()["total"] == 0
    assert (await client.get(f"/api/v1/files/{file_id}/metadata")).status_code == 200


async def test_a_form_of_another_site_changes_nothing(client: httpx.AsyncClient) -> None:
    headers = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
    response = await client.post("/v1/audio/speech", content=b'{"input": "x"}', headers=headers)

    assert response.status_code == 403
    assert response.json()["error"]["code"] == "forbidden_origin"


async def test_the_page_of_the_server_itself_may_do_everything(api: Api) -> None:
    address = api.url.replace("127.0.0.1", "127.0.0.2")
    response = await api.client.post(
        "/api/v1/tasks", json={}, headers={"Host": address.removeprefix("http://"), "Origin": address}
    )

    assert response.status_code == 422


async def test_a_page_opened_as_a_file_reads_and_is_told_how_to_change(client: httpx.AsyncClient) -> None:
    read = await client.get("/api/v1/tasks", headers={"Origin": "null"})
    preflight_response = await client.options("/api/v1/tasks", headers=preflight("null"))
    changed = await client.post("/api/v1/tasks", json={}, headers={"Origin": "null"})

    assert (read.status_code, preflight_response.status_code, changed.status_code) == (200, 204, 403)
    assert {response.headers["access-control-allow-origin"] for response in (read, preflight_response, changed)} == {
        "null"
    }
    assert "CORS_ORIGINS=null" in changed.json()["error"]["hint"]
    assert "API key" in changed.json()["error"]["hint"]


@pytest.mark.parametrize("origins", [("null",), ("*",)])
async def test_a_page_opened_as_a_file_may_change_by_setting(settings: Settings, origins: tuple[str, ...]) -> None:
    async with running(settings.model_copy(update={"cors_origins": origins})) as api:
        response = await api.client.post("/api/v1/tasks", json={}, headers={"Origin": "null"})

    assert response.status_code == 422
    assert response.headers["access-control-allow-origin"] == "null"


async def test_origins_of_the_setting_may_do_everything(settings: Settings) -> None:
    async with running(settings.model_copy(update={"cors_origins": ("https://app.example",)})) as api:
        response = await api.client.post("/api/v1/tasks", json={}, headers={"Origin": "https://app.example"})
        other = await api.client.post("/api/v1/tasks", json={}, headers={"Origin": "https://app.example:8443"})

    assert (response.status_code, other.status_code) == (422, 403)
    assert response.headers["access-control-allow-origin"] == "https://app.example"


async def test_with_keys_the_key_decides_and_only_allowed_origins_read(settings: Settings) -> None:
    async with running(settings.model_copy(update={"valid_api_keys": ("k1",)})) as api:
        key = {"X-API-Key": "k1"}
        null = await api.client.post("/api/v1/tasks", json={}, headers={"Origin": "null", **key})
        without = await api.client.post("/api/v1/tasks", json={}, headers={"Origin": "null"})
        preflight_response = await api.client.options("/api/v1/tasks", headers=preflight("http://localhost:3000"))
        foreign = await api.client.post("/api/v1/tasks", json={}, headers={"Origin": "https://evil.example", **key})

    assert (null.status_code, without.status_code, preflight_response.status_code) == (422, 401, 204)
    assert {response.headers["access-control-allow-origin"] for response in (null, without)} == {"null"}
    assert foreign.status_code == 422
    assert "access-control-allow-origin" not in foreign.headers


async def test_streams_and_unexpected_errors_have_the_headers(settings: Settings) -> None:
    origin = {"Origin": "http://localhost:3000"}
    async with running(settings) as api:

        @api.app.get("/faulty")
        async def faulty(request: Request) -> None:
            raise RuntimeError("secret")

        file_id = (await upload(api.client))["id"]
        task = (await api.client.post("/api/v1/tasks", json={"exp_name": "bob", "audio_file_id": file_id})).json()
        await api.client.delete(f"/api/v1/tasks/{task['id']}")
        responses = [
            await api.client.get(path, headers=origin)
            for path in (f"/api/v1/tasks/{task['id']}/progress", "/faulty", "/api/v1/nowhere", "/api/v1/tasks?limit=0")
        ]

    assert [response.status_code for response in responses] == [200, 500, 404, 422]
    assert responses[0].headers["content-type"].startswith("text/event-stream")
    assert {response.headers["access-control-allow-origin"] for response in responses} == {origin["Origin"]}


async def test_every_kind_of_error_can_be_read_by_the_page_that_caused_it(settings: Settings) -> None:
    origin = {"Origin": "http://localhost:5173"}
    keyed = settings.model_copy(update={"valid_api_keys": ("k1",), "max_upload_mb": 1})
    async with running(keyed) as api:
        key = {**origin, "X-API-Key": "k1"}
        speech = {"input": "Hello.", "voice": "alloy"}
        await make_voice(api.services.records, "Allison")
        responses = [
            await api.client.get("/api/v1/tasks", headers=origin),
            await api.client.get("/api/v1/keys", headers=key),
            await api.client.get("/nowhere", headers=key),
            await api.client.put("/api/v1/tasks", headers=key),
            await api.client.post("/api/v1/files", headers=key, files={"file": ("a.wav", bytes(2 << 20))}),
            await api.client.post("/api/v1/tasks", headers=key, json={}),
            await api.client.post("/v1/audio/speech", headers=key, json=speech),
            await api.client.head("/api/v1/tasks", headers=origin),
        ]

    assert [response.status_code for response in responses] == [401, 403, 404, 405, 413, 422, 503, 401]
    for response in responses:
        assert response.headers["access-control-allow-origin"] == origin["Origin"]
        assert "X-Sample-Rate" in response.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    "path", ["/", "/tts", "/nowhere", "/api/v1/tasks/task-1/progress", "/console/", "/audio/a.wav"]
)
async def test_any_path_can_be_asked_for_in_advance(settings: Settings, path: str) -> None:
    async with running(settings.model_copy(update={"valid_api_keys": ("k1",)})) as api:
        response = await api.client.options(path, headers=preflight("http://127.0.0.1:8000", "PATCH"))

    assert response.status_code in (200, 204)
    assert response.headers["access-control-allow-origin"] == "http://127.0.0.1:8000"
    assert "PATCH" in response.headers["access-control-allow-methods"]
