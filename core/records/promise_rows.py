"""Records of what was promised to callers: webhooks, their deliveries, and limits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class WebhookRecord:
    """An address that is told of events."""

    id: str
    url: str
    events: list[str]
    description: str
    secret: str
    """`whsec_` and the key in base64; shown once, when the webhook is made."""
    enabled: bool
    message: str
    """Why it is not enabled; empty while it is."""
    created_at: float


class DeliveryStatus(StrEnum):
    """Where a delivery is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    """Out of tries; it can be sent again by hand."""


@dataclass(frozen=True, slots=True)
class DeliveryRecord:
    """One event on its way to one address."""

    id: str
    """What the receiver sees as `webhook-id`; the same in every try."""
    webhook_id: str | None
    """None: the address came with the request itself."""
    subject: str
    """The task, or the experiment, that it tells of."""
    event: str
    url: str
    body: str
    """JSON, the very bytes that are sent."""
    status: DeliveryStatus
    attempts: int
    """Tries that ended."""
    history: list[dict[str, Any]]
    """`{at, status_code, error, seconds}` of the newest tries, oldest first."""
    status_code: int | None
    """Of the last answer."""
    error: str
    """Why the last try failed."""
    retries: int
    """Tries since it was last begun or sent again by hand: where it is in the schedule."""
    next_try_at: float | None
    claimed_by: str
    """The sender that tries it now."""
    claimed_until: float
    """After that the sender is taken for dead, and the try for one that never was."""
    created_at: float
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class LimitRecord:
    """How many jobs of a kind a device may run at once; None leaves it to the settings."""

    device: str
    """`cpu`, `cuda` (each GPU) or `cuda:N`, on every host."""
    training: int | None
    inference: int | None
    updated_at: float
