"""Keys: who is let in, and by which header."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from api_support import running, tone, upload

from api.http.auth import KeyRing
from core.access import USER_SCOPES, Quota, Scope
from core.errors import NotReady, QuotaExceeded, RecordsUnavailable, Unauthorized
from core.records import Records
from core.settings import Settings

OPEN = ["/health", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/", "/voices"]


async def test_without_any_key_every_request_is_allowed(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/files")).status_code == 200
    assert (await client.get("/v1/models")).status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/files", "/api/v1/tasks", "/api/v1/jobs/x", "/v1/models", "/speakers"])
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


async def test_revoking_the_last_key_does_not_allow_every_request(records: Records) -> None:
    await records.api_keys.create("only")
    await records.api_keys.revoke("only")

    with pytest.raises(Unauthorized):
        await KeyRing((), records).check("")


class HeldKeys:
    """Records whose keys are read when the test says so, or cannot be read."""

    def __init__(self, records: Records) -> None:
        self.api_keys: Any = self
        self.reads = 0
        self.released = asyncio.Event()
        self.away = False
        self._keys = records.api_keys

    async def all(self) -> list[Any]:
        self.reads += 1
        await self.released.wait()
        if self.away:
            raise RecordsUnavailable("The database is away.")
        return await self._keys.all()


async def test_requests_wait_for_the_first_read_of_the_keys_and_share_it(records: Records) -> None:
    await records.api_keys.create("laptop")
    held: Any = HeldKeys(records)
    ring = KeyRing((), held)
    checks = [asyncio.create_task(ring.check("")) for _ in range(40)]
    await asyncio.sleep(0)

    held.released.set()
    errors = await asyncio.gather(*checks, return_exceptions=True)

    assert {type(error) for error in errors} == {Unauthorized}
    assert held.reads == 1


async def test_a_request_that_is_cancelled_does_not_cancel_the_read_of_others(records: Records) -> None:
    held: Any = HeldKeys(records)
    ring = KeyRing((), held)
    first, second = (asyncio.create_task(ring.check("")) for _ in range(2))
    await asyncio.sleep(0)

    first.cancel()
    held.released.set()

    await second
    assert first.cancelled() or first.cancelling()


async def test_nothing_is_allowed_while_the_keys_could_never_be_read(records: Records) -> None:
    held: Any = HeldKeys(records)
    held.away = True
    held.released.set()
    ring = KeyRing(("configured",), held)

    for key in ("", "configured"):
        with pytest.raises(NotReady):
            await ring.check(key)
    held.away = False
    await ring.check("configured")


async def test_the_keys_that_were_read_last_are_used_for_a_minute_while_the_records_are_away(records: Records) -> None:
    _, key = await records.api_keys.create("laptop")
    held: Any = HeldKeys(records)
    held.released.set()
    now = 0.0
    ring = KeyRing((), held, clock=lambda: now)
    with pytest.raises(Unauthorized):
        await ring.check("")
    held.away = True

    now += 30
    with pytest.raises(Unauthorized):
        await ring.check("")
    now += 31
    with pytest.raises(NotReady):
        await ring.check(key)


async def test_a_key_ends_at_its_expiry(records: Records) -> None:
    now = 1000.0
    ring = KeyRing((), records, now=lambda: now)
    _, key = await records.api_keys.create("guest", expires_at=1060.0)
    assert (await ring.check(key)).owner == "guest"

    now = 1060.0

    with pytest.raises(Unauthorized, match="expired at 1970-01-01T00:17:40"):
        await ring.check(key)


async def test_requests_above_the_quota_are_rejected_until_the_minute_has_room(records: Records) -> None:
    now = 0.0
    ring = KeyRing((), records, clock=lambda: now)
    _, key = await records.api_keys.create("busy", quota=Quota(requests_per_minute=6))
    _, other = await records.api_keys.create("calm", quota=Quota(requests_per_minute=6))
    caller = await ring.check(key)
    for _ in range(6):
        await ring.count_request(caller)

    with pytest.raises(QuotaExceeded, match="6 requests a minute") as rejection:
        await ring.count_request(caller)
    await ring.count_request(await ring.check(other))
    now += rejection.value.retry_after

    assert rejection.value.retry_after == 10
    await ring.count_request(caller)
    with pytest.raises(QuotaExceeded):
        await ring.count_request(caller)


async def test_a_request_above_the_quota_says_when_to_try_again(settings: Settings, records: Records) -> None:
    _, key = await records.api_keys.create("busy", quota=Quota(requests_per_minute=1))
    async with running(settings) as api:
        first, second = [await api.client.get("/api/v1/files", headers={"X-API-Key": key}) for _ in range(2)]

    assert (first.status_code, second.status_code) == (200, 429)
    assert second.json()["error"]["code"] == "quota_exceeded"
    assert 1 <= int(second.headers["retry-after"]) <= 60


async def test_configured_keys_are_owners_and_admins(records: Records) -> None:
    ring = KeyRing(("user", "both"), records, admins=("boss", "both"))
    callers = {key: await ring.check(key) for key in ("user", "both", "boss")}

    assert callers["user"].scopes == USER_SCOPES
    assert callers["both"].sees_all
    assert callers["boss"].sees_all
    assert len({caller.owner for caller in callers.values()}) == 3


async def test_a_key_without_a_scope_is_told_which_one_is_missing(settings: Settings, records: Records) -> None:
    _, reader = await records.api_keys.create("reader", scopes={Scope.READ})
    _, speaker = await records.api_keys.create("speaker", scopes={Scope.SPEAK})
    async with running(settings) as api:
        calls = [("GET", "/api/v1/tasks"), ("POST", "/api/v1/tasks"), ("POST", "/v1/audio/speech")]
        statuses = {}
        for name, key in (("reader", reader), ("speaker", speaker)):
            for method, path in calls:
                response = await api.client.request(method, path, headers={"X-API-Key": key}, json={})
                statuses[name, method, path] = response.status_code
        forbidden = await api.client.post("/api/v1/tasks", headers={"X-API-Key": reader}, json={})

    assert [status == 403 for status in statuses.values()] == [False, True, True, True, True, False]
    assert forbidden.json()["error"]["code"] == "forbidden"
    assert "needs the scope `train`; this API key has read" in forbidden.json()["error"]["message"]


async def test_bytes_above_the_quota_are_rejected_and_nothing_is_left(settings: Settings, records: Records) -> None:
    content = tone(2.0)
    _, key = await records.api_keys.create("small", quota=Quota(bytes_stored=len(content) + 1000))
    async with running(settings) as api:
        api.client.headers["X-API-Key"] = key
        first = await upload(api.client, content)
        second = await api.client.post("/api/v1/files", files={"file": ("b.wav", content)})
        large = await api.client.post("/api/v1/files", files={"file": ("c.wav", tone(20.0))})
        await api.client.delete(f"/api/v1/files/{first['id']}")
        third = await api.client.post("/api/v1/files", files={"file": ("d.wav", content)})
        files = (await api.client.get("/api/v1/files")).json()["total"]

    assert (second.status_code, large.status_code, third.status_code) == (429, 429, 201)
    assert int(second.headers["retry-after"]) > 0
    assert files == 1
