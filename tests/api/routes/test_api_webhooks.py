"""Webhooks over HTTP: made, listed, deleted; their deliveries listed and sent again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from core.net.fetch import Fetcher
from core.records import DeliveryAttempt, NewFileRecord, Records
from core.settings import Settings
from core.signing import key_of
from core.webhooks import WebhookSender

PUBLIC = "http://93.184.216.34/hook"


@pytest.fixture
async def recording(records: Records) -> str:
    """Return the id of a file that nobody will open."""
    file = await records.files.create(
        NewFileRecord(id="file-a", filename="a.wav", purpose="training", size_bytes=1, sha256="0" * 64)
    )
    return file.id


@pytest.fixture
async def ended(client: httpx.AsyncClient, recording: str) -> dict[str, Any]:
    """Return a task with a webhook of its own, cancelled."""
    body = {"exp_name": "bob", "audio_file_id": recording, "webhook_url": PUBLIC}
    task: dict[str, Any] = (await client.post("/api/v1/tasks", json=body)).json()
    return dict((await client.delete(f"/api/v1/tasks/{task['id']}")).json())


@pytest.fixture
async def sender(records: Records, settings: Settings) -> AsyncIterator[WebhookSender]:
    """One that may connect nowhere."""
    created = WebhookSender(records, Fetcher(max_bytes=0, resolve=_nowhere), settings.secret_box)
    yield created
    await created.close()


async def _nowhere(host: str, port: int) -> list[str]:
    return ["10.0.0.1"]


async def test_a_webhook_is_made_and_its_secret_is_shown_once(client: httpx.AsyncClient) -> None:
    created = await client.post("/api/v1/webhooks", json={"url": PUBLIC, "description": "ours"})
    view = await client.get(f"/api/v1/webhooks/{created.json()['id']}")
    listed = await client.get("/api/v1/webhooks")

    assert created.status_code == 201
    assert len(key_of(created.json().pop("secret"))) == 32
    assert view.json() == {name: value for name, value in created.json().items() if name != "secret"}
    assert listed.json() == {
        **{"items": [view.json()], "total": 1, "limit": 50, "offset": 0},
        "next_cursor": None,
    }
    assert view.json()["events"] == ["task.completed", "task.failed", "task.cancelled"]


async def test_a_webhook_is_deleted(client: httpx.AsyncClient) -> None:
    created = (await client.post("/api/v1/webhooks", json={"url": PUBLIC})).json()

    response = await client.delete(f"/api/v1/webhooks/{created['id']}")

    assert response.status_code == 200
    assert "secret" not in response.json()
    assert (await client.get(f"/api/v1/webhooks/{created['id']}")).status_code == 404
    assert (await client.delete(f"/api/v1/webhooks/{created['id']}")).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({}, 422, "'url'"),
        ({"url": ""}, 422, "url"),
        ({"url": "ftp://x"}, 400, "refused"),
        ({"url": "http://127.0.0.1:6379/"}, 400, "not a public address"),
        ({"url": PUBLIC, "events": ["task.begun"]}, 422, "task.begun"),
        ({"url": PUBLIC, "events": "task.failed"}, 422, "events"),
        ({"url": PUBLIC, "secret": "hush"}, 422, "whsec_"),
        ({"url": PUBLIC, "colour": "red"}, 422, "'colour'"),
    ],
)
async def test_what_cannot_be_is_rejected_by_name(
    client: httpx.AsyncClient, body: dict[str, Any], status: int, message: str
) -> None:
    response = await client.post("/api/v1/webhooks", json=body)

    assert response.status_code == status
    assert message in response.json()["error"]["message"]
    assert "hush" not in response.text


async def test_the_deliveries_of_a_task_are_listed_with_every_try(
    client: httpx.AsyncClient, ended: dict[str, Any], sender: WebhookSender
) -> None:
    await sender.send_due()
    await sender.settle()

    listed = (await client.get(f"/api/v1/tasks/{ended['id']}/webhooks")).json()

    (delivery,) = listed["items"]
    assert listed["total"] == 1
    assert (delivery["event"], delivery["subject"], delivery["url"]) == ("task.cancelled", ended["id"], PUBLIC)
    assert (delivery["status"], delivery["attempts"], delivery["status_code"]) == ("pending", 1, None)
    assert "not a public address" in delivery["history"][0]["error"]
    assert delivery["next_try_at"] > delivery["created_at"]
    assert delivery["payload"]["type"] == "task.cancelled"
    assert delivery["payload"]["data"]["task_id"] == ended["id"]
    assert (await client.get(f"/api/v1/webhooks/deliveries/{delivery['id']}")).json() == delivery


async def test_all_deliveries_are_listed_and_sifted(client: httpx.AsyncClient, ended: dict[str, Any]) -> None:
    async def count(**query: str) -> int:
        return int((await client.get("/api/v1/webhooks/deliveries", params=query)).json()["total"])

    assert await count() == await count(status="pending") == await count(event="task.cancelled") == 1
    assert await count(status="delivered") == await count(webhook_id="wh-none") == 0
    assert (await client.get("/api/v1/webhooks/deliveries?status=lost")).status_code == 422


async def test_a_delivery_is_sent_again(client: httpx.AsyncClient, ended: dict[str, Any], records: Records) -> None:
    (delivery,) = (await records.deliveries.page()).items
    await records.deliveries.claim("sender", 1, 30)
    await records.deliveries.end_attempt(
        delivery.id, "sender", DeliveryAttempt(1.0, 0.1, 500, "It answered 500."), None
    )

    response = await client.post(f"/api/v1/webhooks/deliveries/{delivery.id}/redeliver")

    assert response.status_code == 202
    assert (response.json()["status"], response.json()["attempts"], response.json()["ended_at"]) == ("pending", 1, None)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "tasks/task-none/webhooks"),
        ("GET", "webhooks/wh-none"),
        ("GET", "webhooks/deliveries/msg-none"),
        ("POST", "webhooks/deliveries/msg-none/redeliver"),
    ],
)
async def test_what_is_not_there_is_not_found(client: httpx.AsyncClient, method: str, path: str) -> None:
    assert (await client.request(method, f"/api/v1/{path}")).status_code == 404
