"""Keys: who is let in, and by which header."""

from __future__ import annotations

import httpx
import pytest
from api_support import running

from api.http.auth import KeyRing
from core.errors import Unauthorized
from core.records import Records
from core.settings import Settings

OPEN = ["/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/", "/voices"]


async def test_without_any_key_the_door_is_open(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/files")).status_code == 200
    assert (await client.get("/v1/models")).status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/files", "/api/v1/tasks", "/api/v1/jobs/x", "/v1/models", "/v1/audio/voices"])
async def test_a_configured_key_is_asked_for(settings: Settings, path: str) -> None:
    async with running(settings.model_copy(update={"valid_api_keys": ("k1", "k2")})) as api:
        none = await api.client.get(path)
        wrong = await api.client.get(path, headers={"Authorization": "Bearer k"})
        bearer = await api.client.get(path, headers={"Authorization": "bearer k1"})
        header = await api.client.get(path, headers={"X-API-Key": "k2"})

    assert (none.status_code, wrong.status_code) == (401, 401)
    assert none.headers["www-authenticate"] == "Bearer"
    assert none.json()["error"]["code"] == "unauthorized"
    assert {bearer.status_code, header.status_code} <= {200, 404}


async def test_what_balancers_ask_needs_no_key(settings: Settings) -> None:
    async with running(settings.model_copy(update={"valid_api_keys": ("k1",)})) as api:
        statuses = {path: (await api.client.get(path)).status_code for path in OPEN}

    assert 401 not in statuses.values()


async def test_a_recorded_key_opens_until_it_is_revoked(records: Records) -> None:
    now = 0.0
    ring = KeyRing((), records, clock=lambda: now)
    await ring.check("")
    _, key = await records.api_keys.create("laptop")

    now += 10
    await ring.check(key)
    with pytest.raises(Unauthorized):
        await ring.check("")
    assert (await records.api_keys.all())[0].last_used_at is not None
    await records.api_keys.revoke("laptop")
    now += 10

    with pytest.raises(Unauthorized, match="revoked"):
        await ring.check(key)


async def test_revoking_the_last_key_does_not_open_the_door(records: Records) -> None:
    await records.api_keys.create("only")
    await records.api_keys.revoke("only")

    with pytest.raises(Unauthorized):
        await KeyRing((), records).check("")
