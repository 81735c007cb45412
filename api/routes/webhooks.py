"""Webhooks: who is told what, and how each delivery went (docs/webhooks.md)."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from api.dependencies import Api, Limit, Offset
from api.http.responses import Json
from core.records import DeliveryHistoryEntry, DeliveryRecord, DeliveryStatus, Page, WebhookRecord, iso
from core.webhooks import EVENTS, TASK_EVENTS

router = APIRouter(tags=["Webhooks"])


class NewWebhook(BaseModel):
    """An address to tell of events."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(min_length=1, max_length=2000, description="Where a POST is sent to: http:// or https://.")
    events: list[str] = Field(
        default_factory=list,
        max_length=20,
        description=f"Of {', '.join(EVENTS)}; without any: {', '.join(TASK_EVENTS)}.",
    )
    secret: str = Field(
        "", max_length=100, description="`whsec_` and 24 to 64 bytes in base64; without one, one is made."
    )
    description: str = Field("", max_length=200)


class WebhookView(TypedDict):
    """A webhook."""

    id: str
    url: str
    events: list[str]
    description: str
    enabled: bool
    message: str
    created_at: str | None


class CreatedWebhookView(WebhookView):
    """A new webhook, with the secret that is never shown again."""

    secret: str


class WebhookPage(TypedDict):
    items: list[WebhookView]
    total: int
    limit: int
    offset: int


class TryView(TypedDict):
    """How one try ended."""

    at: str | None
    status_code: int | None
    error: str
    seconds: float


class DeliveryView(TypedDict):
    """One event on its way to one address."""

    id: str
    webhook_id: str | None
    event: str
    subject: str
    url: str
    status: str
    attempts: int
    status_code: int | None
    error: str
    next_try_at: str | None
    created_at: str | None
    ended_at: str | None
    history: list[TryView]
    payload: dict[str, Any]


class DeliveryPage(TypedDict):
    items: list[DeliveryView]
    total: int
    limit: int
    offset: int


@router.post("/webhooks", status_code=201, response_model=CreatedWebhookView)
async def create_webhook(new: NewWebhook, api: Api) -> Response:
    """Tell an address of events from now on. The answer is the only one that holds the secret."""
    made = await api.webhooks.register(new.url, new.events, new.secret, new.description)
    return Json({**webhook_view(made), "secret": made.secret}, 201)


@router.get("/webhooks", response_model=WebhookPage)
async def list_webhooks(api: Api, limit: Limit = 50, offset: Offset = 0) -> Response:
    """The webhooks, newest first."""
    page = await api.records.webhooks.page(limit, offset)
    items = [webhook_view(one) for one in page.items]
    return Json({"items": items, "total": page.total, "limit": limit, "offset": offset})


# Deliveries come first: `deliveries` is no id.


@router.get("/webhooks/deliveries", response_model=DeliveryPage)
async def list_deliveries(
    api: Api,
    limit: Limit = 50,
    offset: Offset = 0,
    status: Annotated[DeliveryStatus | None, Query()] = None,
    webhook_id: Annotated[str | None, Query(max_length=64)] = None,
    event: Annotated[str | None, Query(max_length=40)] = None,
) -> Response:
    """What was or will be sent, newest first; what ended is listed for 30 days."""
    page = await api.records.deliveries.page(limit, offset, status, webhook_id=webhook_id, event=event)
    return Json(_deliveries(page, limit, offset))


@router.get("/webhooks/deliveries/{delivery_id}", response_model=DeliveryView)
async def get_delivery(delivery_id: str, api: Api) -> Response:
    """How a delivery is getting on."""
    return Json(delivery_view(await api.records.deliveries.get(delivery_id)))


@router.post("/webhooks/deliveries/{delivery_id}/redeliver", status_code=202, response_model=DeliveryView)
async def send_again(delivery_id: str, api: Api) -> Response:
    """Send a delivery again now, and as often as a new one if that fails; its `webhook-id` stays the same."""
    return Json(delivery_view(await api.records.deliveries.resend(delivery_id)), 202)


@router.get("/webhooks/{webhook_id}", response_model=WebhookView)
async def get_webhook(webhook_id: str, api: Api) -> Response:
    """A webhook."""
    return Json(webhook_view(await api.records.webhooks.get(webhook_id)))


@router.delete("/webhooks/{webhook_id}", response_model=WebhookView)
async def delete_webhook(webhook_id: str, api: Api) -> Response:
    """Tell an address nothing more; what was on its way is given up."""
    return Json(webhook_view(await api.records.webhooks.delete(webhook_id)))


@router.get("/tasks/{task_id}/webhooks", response_model=DeliveryPage)
async def list_task_deliveries(task_id: str, api: Api, limit: Limit = 50, offset: Offset = 0) -> Response:
    """What was or will be sent about a task, newest first."""
    await api.records.tasks.get(task_id)
    page = await api.records.deliveries.page(limit, offset, subject=task_id)
    return Json(_deliveries(page, limit, offset))


def webhook_view(webhook: WebhookRecord) -> WebhookView:
    return {
        "id": webhook.id,
        "url": webhook.url,
        "events": webhook.events,
        "description": webhook.description,
        "enabled": webhook.enabled,
        "message": webhook.message,
        "created_at": iso(webhook.created_at),
    }


def delivery_view(delivery: DeliveryRecord) -> DeliveryView:
    return {
        "id": delivery.id,
        "webhook_id": delivery.webhook_id,
        "event": delivery.event,
        "subject": delivery.subject,
        "url": delivery.url,
        "status": delivery.status,
        "attempts": delivery.attempts,
        "status_code": delivery.status_code,
        "error": delivery.error,
        "next_try_at": iso(delivery.next_try_at),
        "created_at": iso(delivery.created_at),
        "ended_at": iso(delivery.ended_at),
        "history": [_try_view(one) for one in delivery.history],
        "payload": orjson.loads(delivery.body),
    }


def _try_view(attempt: DeliveryHistoryEntry) -> TryView:
    return {
        "at": iso(attempt["at"]),
        "status_code": attempt["status_code"],
        "error": attempt["error"],
        "seconds": attempt["seconds"],
    }


def _deliveries(page: Page[DeliveryRecord], limit: int, offset: int) -> DeliveryPage:
    items = [delivery_view(one) for one in page.items]
    return {"items": items, "total": page.total, "limit": limit, "offset": offset}
