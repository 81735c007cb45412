"""Webhooks: delivered at least once, signed, retried for a day and a half.

Deliveries are written in the transaction in which their event happens (core/records/outbox.py); `WebhookSender`, in
every supervisor, sends them.
"""

from __future__ import annotations

from core.records.outbox import EVENTS, TASK_EVENTS
from core.webhooks.sender import RETRY_SECONDS, WebhookSender
from core.webhooks.service import WebhookService, make_fetcher

__all__ = ["EVENTS", "RETRY_SECONDS", "TASK_EVENTS", "WebhookSender", "WebhookService", "make_fetcher"]
