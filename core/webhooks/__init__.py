"""Webhooks: told at least once, signed, tried again for a day and a half.

What there is to tell is written in the transaction in which it happens (core/records/outbox.py); `WebhookSender`, in
every supervisor, sends it.
"""

from __future__ import annotations

from core.records.outbox import EVENTS, TASK_EVENTS
from core.webhooks.sender import RETRY_SECONDS, WebhookSender
from core.webhooks.service import WebhookService, make_fetcher

__all__ = ["EVENTS", "RETRY_SECONDS", "TASK_EVENTS", "WebhookSender", "WebhookService", "make_fetcher"]
