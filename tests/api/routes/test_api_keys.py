"""API keys by API, shared voices, and webhooks of several owners."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from access_world import ALICE, create_keys, create_world, headers
from api_support import make_voice, running

from core.access import act_as
from core.records import Records
from core.settings import Settings


async def test_the_first_key_is_an_admins_and_closes_the_server(client: httpx.AsyncClient) -> None:
    refused = await client.post("/api/v1/keys", json={"name": "me", "scopes": ["speak"]})
    created = (await client.post("/api/v1/keys", json={"name": "me", "scopes": ["admin"]})).json()
    closed = await client.get("/api/v1/files")
    listed = await client.get("/api/v1/keys", headers=headers(created["key"]))

    assert refused.status_code == 400
    assert closed.status_code == 401
    assert [key["name"] for key in listed.json()["items"]] == ["me"]
    assert created["key"] not in listed.text


async def test_a_key_is_created_listed_and_revoked(settings: Settings, records: Records) -> None:
    keys = await create_keys(records)
    expiry = datetime.now(UTC) + timedelta(days=1)
    new = {
        "name": "guest",
        "owner": "lab",
        "scopes": ["speak"],
        "expires_at": expiry.isoformat(),
        "quota": {"requests_per_minute": 100},
    }
    async with running(settings) as api:
        api.client.headers.update(headers(keys.admin))
        created = await api.client.post("/api/v1/keys", json=new)
        key = created.json()
        used = await api.client.get("/v1/models", headers=headers(key["key"]))
        revoked = await api.client.delete(f"/api/v1/keys/{key['id']}")
        rejected = await api.client.get("/v1/models", headers=headers(key["key"]))
        listed = (await api.client.get("/api/v1/keys")).json()
        unknown = await api.client.delete("/api/v1/keys/key-none")

    assert created.status_code == 201
    assert (key["owner"], key["scopes"], key["status"]) == ("lab", ["speak"], "valid")
    assert key["quota"]["requests_per_minute"] == 100
    assert (used.status_code, revoked.status_code, rejected.status_code) == (200, 204, 401)
    assert listed["items"][0]["status"] == "revoked"
    assert unknown.status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"scopes": ["fly"]},
        {"scopes": []},
        {"quota": {"jobs_waiting": 0}},
        {"expires_at": "2001-01-01T00:00:00Z"},
        {"name": "a\nb"},
    ],
)
async def test_a_key_that_could_not_be_used_is_rejected(client: httpx.AsyncClient, wrong: dict[str, object]) -> None:
    response = await client.post("/api/v1/keys", json={"name": "me", "scopes": ["admin"], **wrong})

    assert response.status_code in (400, 422)


async def test_a_voice_is_private_until_an_admin_shares_it(settings: Settings, records: Records) -> None:
    keys = await create_keys(records)
    with act_as(ALICE):
        voice = await make_voice(records, "Alice")
    path = f"/api/v1/voices/{voice.id}"
    async with running(settings) as api:
        hidden = await api.client.get(path, headers=headers(keys.other))
        spoken = {"text": "a", "voice": "Alice"}
        unspoken = await api.client.post("/api/v1/inference", headers=headers(keys.other), json=spoken)
        refused = await api.client.patch(path, headers=headers(keys.owner), json={"visibility": "shared"})
        before = (await api.client.get("/voices")).json()
        shared = await api.client.patch(path, headers=headers(keys.admin), json={"visibility": "shared"})
        after = (await api.client.get("/voices")).json()
        seen = await api.client.get(path, headers=headers(keys.other))
        accepted = await api.client.post("/api/v1/inference", headers=headers(keys.other), json=spoken)
        changes = [
            await api.client.patch(path, headers=headers(key), json={"language": "ja"})
            for key in (keys.owner, keys.other, keys.admin)
        ]
        deletion = await api.client.delete(path, headers=headers(keys.other))

    assert (hidden.status_code, unspoken.status_code, refused.status_code) == (404, 404, 403)
    assert (before, after) == ([], ["Alice"])
    assert (shared.json()["visibility"], seen.status_code, accepted.status_code) == ("shared", 200, 202)
    assert [response.status_code for response in changes] == [403, 403, 200]
    assert deletion.status_code == 403


async def test_events_go_to_webhooks_of_the_owner_only(settings: Settings, records: Records) -> None:
    keys = await create_keys(records)
    async with running(settings) as api:
        hook = {"url": "https://8.8.8.8/bob"}
        await api.client.post("/api/v1/webhooks", headers=headers(keys.other), json=hook)
        await create_world(api)  # a task of Alice is cancelled
        deliveries = {
            name: (await api.client.get("/api/v1/webhooks/deliveries", headers=headers(key))).json()
            for name, key in (("alice", keys.owner), ("bob", keys.other), ("root", keys.admin))
        }

    assert [item["url"] for item in deliveries["alice"]["items"]] == ["https://8.8.8.8/alice"]
    assert deliveries["bob"]["total"] == 0
    assert deliveries["root"]["total"] == 1


async def test_what_existed_before_there_were_keys_stays_shared(settings: Settings, records: Records) -> None:
    voice = await make_voice(records, "Old")
    keys = await create_keys(records)
    async with running(settings) as api:
        seen = [
            (await api.client.get(f"/api/v1/voices/{voice.id}", headers=headers(key))).status_code
            for key in (keys.owner, keys.other, keys.admin)
        ]

    assert seen == [200, 200, 200]
