"""What the audit log says about requests."""

from __future__ import annotations

from typing import Any

import httpx
from api_support import Api, running, upload

from core.audit import AuditLog
from core.settings import Settings


async def entries(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    response = await client.get("/api/v1/audit", params=query)
    assert response.status_code == 200, response.text
    items: list[dict[str, Any]] = response.json()["items"]
    return items


async def test_calls_that_change_something_are_logged_and_reads_are_not(api: Api) -> None:
    file_id = (await upload(api.client))["id"]
    await api.client.get("/api/v1/files")
    headers = {"X-Request-ID": "mine"}
    await api.client.delete(f"/api/v1/files/{file_id}?token=secret", headers=headers)
    await api.client.post("/api/v1/tasks", json={})

    failed, deleted, created = await entries(api.client)

    assert {name: deleted[name] for name in ("request_id", "address", "method", "path", "status", "result")} == {
        "request_id": "mine",
        "address": "127.0.0.1",
        "method": "DELETE",
        "path": f"/api/v1/files/{file_id}",
        "status": 200,
        "result": "done",
    }
    assert (created["method"], created["path"], created["status"]) == ("POST", "/api/v1/files", 201)
    assert (failed["status"], failed["result"]) == (422, "failed")
    assert "secret" not in str([failed, deleted, created])


async def test_every_rejection_is_logged(settings: Settings) -> None:
    async with running(settings) as api:
        await api.client.get("/api/v1/files", headers={"Host": "evil.example"})
        await api.client.post("/api/v1/tasks", json={}, headers={"Origin": "https://evil.example"})
        rejected = await entries(api.client, result="rejected")
        counted = (await api.client.get("/metrics")).text
    assert [(item["method"], item["status"]) for item in rejected] == [("POST", 403), ("GET", 421)]
    assert 'status="421"' in counted


async def test_a_missing_key_is_logged_and_only_a_key_reads_the_log(settings: Settings) -> None:
    async with running(settings.model_copy(update={"valid_api_keys": ("k1",)})) as api:
        without = await api.client.get("/api/v1/audit")

    [entry] = AuditLog.of(settings).entries()
    assert without.status_code == 401
    assert (entry.method, entry.path, entry.status, entry.result) == ("GET", "/api/v1/audit", 401, "rejected")
    assert entry.caller == ""


async def test_the_log_is_read_page_by_page_and_filtered(client: httpx.AsyncClient) -> None:
    for number in range(5):
        await client.delete(f"/api/v1/files/file-{number}")

    page = (await client.get("/api/v1/audit", params={"limit": 2, "offset": 1})).json()
    filtered = await entries(client, path="/api/v1/files/file-3", method="DELETE", status=404)

    assert [item["path"] for item in page["items"]] == ["/api/v1/files/file-3", "/api/v1/files/file-2"]
    assert (page["total"], page["limit"], page["offset"]) == (5, 2, 1)
    assert [item["path"] for item in filtered] == ["/api/v1/files/file-3"]
