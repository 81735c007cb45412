"""What watchers of an inference or a batch hear: what happened in the queue, counted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Any

from api.routes.inference.views import batch_view, inference_view
from core.jobs.job import TERMINAL_EVENTS, Event
from core.speech.batches import BatchService
from core.speech.inference import InferenceService, InferenceStatus

__all__ = ["BatchStory", "Event", "InferenceStory", "Story"]


class Story(ABC):
    """Turns the queue's events of one job into those that its watchers are promised."""

    def __init__(self, id_: str) -> None:
        self.id = id_

    async def told(self, events: AsyncIterator[Event], after: str) -> AsyncIterator[Event]:
        """What comes after the event with that id; the earlier ones are only counted."""
        counted: set[Any] = set()
        async for event in events:
            ends = event.kind in TERMINAL_EVENTS
            data = await self.show() if ends else await self.progress(event, counted)
            if data is not None and _number(event.id) > _number(after):
                yield Event(event.id, event.kind if ends else "progress", data)

    async def ended(self) -> Event | None:
        """The last event, once there will be no more."""
        return await self.ending() if (await self.status()).terminal else None

    async def ending(self) -> Event:
        """The last event of one that has ended."""
        milliseconds = round(await self.finished_at() * 1000)
        return Event(f"{milliseconds}-0", str(await self.status()), await self.show())

    @abstractmethod
    async def progress(self, event: Event, counted: set[Any]) -> dict[str, Any] | None:
        """What to tell about an event, which is also counted; None for nothing."""

    @abstractmethod
    async def status(self) -> InferenceStatus: ...

    @abstractmethod
    async def finished_at(self) -> float: ...

    @abstractmethod
    async def show(self) -> dict[str, Any]:
        """The whole as a request for it would be answered now."""


class InferenceStory(Story):
    """One event a sentence."""

    def __init__(self, service: InferenceService, inference_id: str) -> None:
        super().__init__(inference_id)
        self.service = service
        self.total: int | None = None

    async def progress(self, event: Event, counted: set[Any]) -> dict[str, Any] | None:
        if event.kind != "utterance":
            return None
        if self.total is None:
            self.total = (await self.service.get(self.id)).utterances_total
        counted.add(event.data["index"])
        total = max(self.total or 0, len(counted))
        return {
            "status": InferenceStatus.RUNNING,
            "progress": round(0.95 * len(counted) / total, 4),
            "utterances_done": len(counted),
            "utterances_total": total,
            "message": f"Spoke {len(counted)} of {total} sentences.",
            "text": event.data["text"],
        }

    async def status(self) -> InferenceStatus:
        return (await self.service.get(self.id)).status

    async def finished_at(self) -> float:
        return (await self.service.get(self.id)).job.finished_at

    async def show(self) -> dict[str, Any]:
        return {**inference_view(await self.service.get(self.id))}


class BatchStory(Story):
    """One event an item."""

    def __init__(self, service: BatchService, batch_id: str) -> None:
        super().__init__(batch_id)
        self.service = service
        self.total: int | None = None

    async def progress(self, event: Event, counted: set[Any]) -> dict[str, Any] | None:
        if event.kind != "item":
            return None
        counted.add(event.data["id"])
        if self.total is None:
            self.total = (await self.service.get(self.id)).items_total
        return {
            "status": InferenceStatus.RUNNING,
            "progress": round(len(counted) / self.total, 4),
            "items_done": len(counted),
            "items_total": self.total,
            "message": f"{len(counted)} of {self.total} texts have ended.",
            "item": event.data,
        }

    async def status(self) -> InferenceStatus:
        return (await self.service.get(self.id)).status

    async def finished_at(self) -> float:
        return (await self.service.get(self.id)).job.finished_at

    async def show(self) -> dict[str, Any]:
        return {**batch_view(await self.service.get(self.id))}


def _number(event_id: str) -> tuple[int, int]:
    milliseconds, _, counter = event_id.partition("-")
    return int(milliseconds), int(counter or 0)
