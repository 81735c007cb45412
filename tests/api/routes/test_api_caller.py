"""What a client learns of its API key."""

from __future__ import annotations

import httpx

from core.access import ALL_SCOPES, Scope
from core.records import Records


async def test_without_any_key_everybody_may_do_everything(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/me")

    expected = {"key_id": "", "owner": None, "scopes": ["speak", "train", "read", "admin"], "key_required": False}
    assert answer.json() == expected


async def test_a_key_sees_its_own_scopes(client: httpx.AsyncClient, records: Records) -> None:
    record, key = await records.api_keys.create("reader", scopes={Scope.READ}, owner="team")
    _, admin = await records.api_keys.create("root", scopes=ALL_SCOPES)
    reader = (await client.get("/api/v1/me", headers={"X-API-Key": key})).json()
    administrator = (await client.get("/api/v1/me", headers={"X-API-Key": admin})).json()

    assert reader == {"key_id": record.id, "owner": "team", "scopes": ["read"], "key_required": True}
    assert administrator["scopes"] == ["speak", "train", "read", "admin"]


async def test_where_keys_exist_a_caller_without_one_is_rejected(client: httpx.AsyncClient, records: Records) -> None:
    await records.api_keys.create("root", scopes=ALL_SCOPES)
    answer = await client.get("/api/v1/me")

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
