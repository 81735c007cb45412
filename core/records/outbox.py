"""The transactional outbox: deliveries are written in the transaction in which their event happens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import orjson
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from core.ids import new_id
from core.records.models.stages import StageRecord
from core.records.models.tasks import TaskRecord, TaskStatus
from core.records.models.times import iso
from core.records.models.webhooks import DeliveryRecord, DeliveryStatus, WebhookRecord
from core.records.queries import as_values, fetch_all
from core.records.tables import webhook_deliveries, webhooks
from core.stages.status import StageStatus

_TASK_ENDS: Final = {
    TaskStatus.COMPLETED: "task.completed",
    TaskStatus.FAILED: "task.failed",
    TaskStatus.CANCELLED: "task.cancelled",
}
_STAGE_ENDS: Final = {
    StageStatus.COMPLETED: "stage.completed",
    StageStatus.FAILED: "stage.failed",
    StageStatus.CANCELLED: "stage.cancelled",
}
TASK_EVENTS: Final = tuple(_TASK_ENDS.values())
EVENTS: Final = (*TASK_EVENTS, *_STAGE_ENDS.values())


@dataclass(frozen=True, slots=True)
class EventSubject:
    """What an event is about: the id of a task or an experiment, and its owner."""

    id: str
    owner: str | None = None


async def add_terminal_events(
    connection: AsyncConnection,
    before: tuple[TaskRecord | None, Mapping[str, StageRecord]],
    after: tuple[TaskRecord | None, Mapping[str, StageRecord]],
    now: float,
    owner: str | None,
) -> None:
    """Write the deliveries for a task and stages of an owner that ended between `before` and `after`."""
    for name, run in after[1].items():
        old = before[1].get(name)
        if run.status in _STAGE_ENDS and (old is None or (old.status, old.run) != (run.status, run.run)):
            subject = EventSubject(run.exp_id, owner)
            await add_event(connection, _STAGE_ENDS[run.status], subject, stage_data(run, after[0]), now)
    task = after[0]
    if task is not None and task.status.terminal and (before[0] is None or before[0].status is not task.status):
        urls = [task.webhook_url] if task.webhook_url else []
        await add_event(connection, _TASK_ENDS[task.status], EventSubject(task.id, owner), task_data(task), now, urls)


async def add_event(
    connection: AsyncConnection,
    event: str,
    subject: EventSubject,
    data: Mapping[str, object],
    now: float,
    urls: Sequence[str] = (),
) -> int:
    """Write a delivery to each of these URLs and to each webhook subscribed to the event; return how many.

    A webhook hears of what belongs to its owner and of what is shared; a shared webhook, of everything.
    """
    targets: list[tuple[str | None, str, str | None]] = [(None, url, subject.owner) for url in urls]
    enabled = webhooks.c.enabled.is_(True)
    for webhook in await fetch_all(connection, webhooks, WebhookRecord, enabled, of_everybody=True):
        if event in webhook.events and (None in (webhook.owner, subject.owner) or webhook.owner == subject.owner):
            targets.append((webhook.id, webhook.url, subject.owner or webhook.owner))
    if not targets:
        return 0
    body = orjson.dumps({"type": event, "timestamp": iso(now), "data": data}).decode()
    new = [
        as_values(replace(_delivery(event, subject.id, webhook_id, url, body, now), owner=owner))
        for webhook_id, url, owner in targets
    ]
    await connection.execute(insert(webhook_deliveries), new)
    return len(new)


def task_data(task: TaskRecord) -> dict[str, object]:
    """Return the `data` of a task's event."""
    return {
        "task_id": task.id,
        "exp_id": task.exp_id,
        "exp_name": task.exp_name,
        "status": task.status,
        "message": task.message,
        "overall_progress": task.overall_progress,
        "voice_id": task.voice_id,
        "error": task.error,
        "created_at": iso(task.created_at),
        "started_at": iso(task.started_at),
        "completed_at": iso(task.completed_at),
    }


def stage_data(run: StageRecord, task: TaskRecord | None) -> dict[str, object]:
    """Return the `data` of a stage run's event."""
    return {
        "exp_id": run.exp_id,
        "task_id": task.id if task is not None else None,
        "stage": run.stage,
        "run": run.run,
        "status": run.status,
        "message": run.message,
        "metrics": run.metrics,
        "error": run.error,
        "started_at": iso(run.started_at),
        "completed_at": iso(run.completed_at),
    }


def _delivery(event: str, subject: str, webhook_id: str | None, url: str, body: str, now: float) -> DeliveryRecord:
    return DeliveryRecord(
        id=new_id("msg"),
        webhook_id=webhook_id,
        subject=subject,
        event=event,
        url=url,
        body=body,
        status=DeliveryStatus.PENDING,
        attempts=0,
        history=[],
        status_code=None,
        error="",
        retries=0,
        next_try_at=now,
        claimed_by="",
        claimed_until=0.0,
        created_at=now,
        ended_at=None,
    )
