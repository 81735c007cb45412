"""Webhooks and their deliveries (docs/webhooks.md)."""

from __future__ import annotations

from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Response
from pydantic import Field
from typing_extensions import TypedDict

from api.dependencies import Api, Cursor, Limit, Offset
from api.http.access import TRAINING
from api.http.localization import localized
from api.http.responses import JsonResponse
from api.http.schemas import JsonObjectView, PageView, StrictModel, page_response
from core.names import Name
from core.records import DeliveryHistoryEntry, DeliveryRecord, DeliveryStatus, WebhookRecord, iso
from core.webhooks import EVENTS, TASK_EVENTS

router = APIRouter(tags=["Webhooks"], dependencies=[TRAINING])


class NewWebhook(StrictModel):
    """A URL that receives events."""

    url: str = Field(min_length=1, max_length=2000, description="Receives a POST for each event: http:// or https://.")
    events: list[str] = Field(
        default_factory=list,
        max_length=20,
        description=f"Any of {', '.join(EVENTS)}. Default: {', '.join(TASK_EVENTS)}.",
    )
    secret: str = Field(
        "",
        max_length=100,
        description="`whsec_` followed by 24 to 64 bytes in base64. Default: a new secret is generated.",
    )
    description: Name = Field("", max_length=200)


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
    """A new webhook with its secret, which is never shown again."""

    secret: str


class DeliveryAttemptView(TypedDict):
    """The outcome of one attempt."""

    at: str | None
    status_code: int | None
    error: str
    seconds: float


class DeliveryView(TypedDict):
    """One event for one URL."""

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
    history: list[DeliveryAttemptView]
    payload: JsonObjectView


@router.post("/webhooks", status_code=201, response_model=CreatedWebhookView)
async def create_webhook(new: NewWebhook, api: Api) -> Response:
    """Register a URL for events from now on. This response is the only one that contains the secret."""
    webhook = await api.webhooks.register(new.url, new.events, new.secret, new.description)
    return JsonResponse(CreatedWebhookView(**webhook_view(webhook), secret=webhook.secret), 201)


@router.get("/webhooks", response_model=PageView[WebhookView])
async def list_webhooks(api: Api, limit: Limit = 50, offset: Offset = 0, cursor: Cursor = "") -> Response:
    """List webhooks, newest first."""
    page = await api.records.webhooks.page(limit, offset, cursor=cursor)
    return page_response(page, webhook_view, limit, offset, cursors=True)


# The routes of deliveries come before `/webhooks/{webhook_id}`, which would match their path.


@router.get("/webhooks/deliveries", response_model=PageView[DeliveryView])
async def list_deliveries(
    api: Api,
    limit: Limit = 50,
    offset: Offset = 0,
    cursor: Cursor = "",
    status: Annotated[DeliveryStatus | None, Query()] = None,
    webhook_id: Annotated[str | None, Query(max_length=64)] = None,
    event: Annotated[str | None, Query(max_length=40)] = None,
) -> Response:
    """List deliveries, newest first. Those that have ended are listed for 30 days."""
    page = await api.records.deliveries.page(limit, offset, status, webhook_id=webhook_id, event=event, cursor=cursor)
    return page_response(page, delivery_view, limit, offset, cursors=True)


@router.get("/webhooks/deliveries/{delivery_id}", response_model=DeliveryView)
async def get_delivery(delivery_id: str, api: Api) -> Response:
    """Get a delivery with its attempts."""
    return JsonResponse(delivery_view(await api.records.deliveries.get(delivery_id)))


@router.post("/webhooks/deliveries/{delivery_id}/redeliver", status_code=202, response_model=DeliveryView)
async def send_again(delivery_id: str, api: Api) -> Response:
    """Send a delivery again now, with as many retries as a new one has. Its `webhook-id` stays the same."""
    return JsonResponse(delivery_view(await api.records.deliveries.resend(delivery_id)), 202)


@router.get("/webhooks/{webhook_id}", response_model=WebhookView)
async def get_webhook(webhook_id: str, api: Api) -> Response:
    """Get a webhook."""
    return JsonResponse(webhook_view(await api.records.webhooks.get(webhook_id)))


@router.delete("/webhooks/{webhook_id}", response_model=WebhookView)
async def delete_webhook(webhook_id: str, api: Api) -> Response:
    """Delete a webhook. Deliveries under way are given up."""
    return JsonResponse(webhook_view(await api.records.webhooks.delete(webhook_id)))


@router.get("/tasks/{task_id}/webhooks", response_model=PageView[DeliveryView])
async def list_task_deliveries(
    task_id: str, api: Api, limit: Limit = 50, offset: Offset = 0, cursor: Cursor = ""
) -> Response:
    """List the deliveries of a task's events, newest first."""
    await api.records.tasks.get(task_id)
    page = await api.records.deliveries.page(limit, offset, subject=task_id, cursor=cursor)
    return page_response(page, delivery_view, limit, offset, cursors=True)


def webhook_view(webhook: WebhookRecord) -> WebhookView:
    """Return a webhook as the API shows it, without its secret."""
    return {
        "id": webhook.id,
        "url": webhook.url,
        "events": webhook.events,
        "description": webhook.description,
        "enabled": webhook.enabled,
        "message": localized(webhook.message),
        "created_at": iso(webhook.created_at),
    }


def delivery_view(delivery: DeliveryRecord) -> DeliveryView:
    """Return a delivery as the API shows it."""
    return {
        "id": delivery.id,
        "webhook_id": delivery.webhook_id,
        "event": delivery.event,
        "subject": delivery.subject,
        "url": delivery.url,
        "status": delivery.status,
        "attempts": delivery.attempts,
        "status_code": delivery.status_code,
        "error": localized(delivery.error),
        "next_try_at": iso(delivery.next_try_at),
        "created_at": iso(delivery.created_at),
        "ended_at": iso(delivery.ended_at),
        "history": [_attempt_view(attempt) for attempt in delivery.history],
        "payload": orjson.loads(delivery.body),
    }


def _attempt_view(attempt: DeliveryHistoryEntry) -> DeliveryAttemptView:
    return {
        "at": iso(attempt["at"]),
        "status_code": attempt["status_code"],
        "error": localized(attempt["error"]),
        "seconds": attempt["seconds"],
    }
