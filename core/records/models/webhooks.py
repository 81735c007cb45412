"""Webhooks and the deliveries of events to them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from typing_extensions import TypedDict


@dataclass(frozen=True, slots=True)
class WebhookRecord:
    """A registered URL that receives events."""

    id: str
    url: str
    events: list[str]
    description: str
    secret: str
    """`whsec_` and the key in base64; shown once, when the webhook is created."""
    enabled: bool
    message: str
    """Why it is disabled; empty while it is enabled."""
    created_at: float
    owner: str | None = None
    """Whose it is; None: shared."""


class DeliveryStatus(StrEnum):
    """The lifecycle of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """No attempts left; a request can send it again."""


class DeliveryHistoryEntry(TypedDict):
    """One attempt of a delivery as it is stored."""

    at: float
    status_code: int | None
    error: str
    seconds: float


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """One event on its way to one URL."""

    id: str
    """The `webhook-id` header; the same in every attempt."""
    webhook_id: str | None
    """None: the URL came with the request itself."""
    subject: str
    """The id of the task or experiment that the event is about."""
    event: str
    url: str
    body: str
    """JSON, the very bytes that are sent."""
    status: DeliveryStatus
    attempts: int
    """Attempts that ended."""
    history: list[DeliveryHistoryEntry]
    """The newest attempts, oldest first."""
    status_code: int | None
    """Of the last response."""
    error: str
    """Why the last attempt failed."""
    retries: int
    """Attempts since it was created or sent again by request: its position in the schedule."""
    next_try_at: float | None
    claimed_by: str
    """The sender that makes the current attempt."""
    claimed_until: float
    """When the claim expires; its sender then counts as dead and the attempt as not made."""
    created_at: float
    ended_at: float | None
    owner: str | None = None
    """Whose it is; None: shared."""
