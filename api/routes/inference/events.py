"""Progress feeds of inferences and batches: the parts that are done, counted from the events of the queue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, TypeVar

from api.http.localization import localized
from api.routes.inference.views import batch_view, inference_view
from api.services.progress import event_id, event_order
from core.jobs.events import Events
from core.jobs.job import TERMINAL_EVENTS, Event
from core.jobs.queue import AsyncQueue
from core.speech.batches import BatchService, InferenceBatch
from core.speech.dubbing import Dubbing, DubbingService
from core.speech.inference import Inference, InferenceService, InferenceStatus

Work = TypeVar("Work", Inference, InferenceBatch, Dubbing)

ASSEMBLY_SHARE: Final = 0.05
"""The share of an inference's progress that is left when all sentences are synthesized."""


@dataclass(frozen=True, slots=True)
class PartsFeed(Generic[Work]):
    """The events of an inference or a batch: one `progress` for each part that is done, and the end."""

    queue: AsyncQueue
    watcher: Events
    job_id: str
    load: Callable[[], Awaitable[Work]]
    """Reads the inference or batch as it is now."""
    view: Callable[[Work], dict[str, Any]]
    """All that a GET returns."""
    total: Callable[[Work], int | None]
    """The number of parts, None while it is unknown."""
    part_kind: str
    """The kind of the events that report a part."""
    part_id: str
    """The field that identifies the part in their data."""
    progress: Callable[[int, int, dict[str, Any]], dict[str, Any]]
    """(parts done, parts in all, data of the newest part's event) → data of a `progress` event."""

    async def history(self, after: str) -> list[Event]:
        """Return the past events after that id; the parts of earlier ones are counted."""
        convert = self._converter(after)
        events = [await convert(event) for event in await self.queue.event_history(self.job_id)]
        return [event for event in events if event is not None]

    async def events(self, after: str) -> AsyncIterator[Event]:
        """Yield the past events after that id, then new ones; the parts of earlier ones are counted."""
        convert = self._converter(after)
        async for event in self.watcher.watch(self.job_id):
            converted = await convert(event)
            if converted is not None:
                yield converted

    async def terminal_event(self) -> Event | None:
        """Return the last event once all has ended, else None."""
        work = await self.load()
        if not work.status.terminal:
            return None
        return Event(event_id(work.job.finished_at), str(work.status), self.view(work))

    def _converter(self, after: str) -> Callable[[Event], Awaitable[Event | None]]:
        """Return a function that turns an event of the queue into one for clients; None for what they do not get."""
        done: set[Hashable] = set()
        total: int | None = None

        async def convert(event: Event) -> Event | None:
            nonlocal total
            if event.kind in TERMINAL_EVENTS:
                kind, data = event.kind, self.view(await self.load())
            elif event.kind == self.part_kind:
                if total is None:
                    total = self.total(await self.load())
                done.add(event.data[self.part_id])
                kind, data = "progress", self.progress(len(done), max(total or 0, len(done)), event.data)
            else:
                return None
            return Event(event.id, kind, data) if event_order(event.id) > event_order(after) else None

        return convert


def inference_feed(service: InferenceService, watcher: Events, inference_id: str) -> PartsFeed[Inference]:
    """Return the feed of an inference, whose parts are sentences."""
    return PartsFeed(
        queue=service.queue,
        watcher=watcher,
        job_id=inference_id,
        load=partial(service.get, inference_id),
        view=lambda inference: dict(inference_view(inference)),
        total=lambda inference: inference.utterances_total,
        part_kind="utterance",
        part_id="index",
        progress=_sentence_progress,
    )


def batch_feed(service: BatchService, watcher: Events, batch_id: str) -> PartsFeed[InferenceBatch]:
    """Return the feed of a batch, whose parts are its items."""
    return PartsFeed(
        queue=service.queue,
        watcher=watcher,
        job_id=batch_id,
        load=partial(service.get, batch_id),
        view=lambda batch: dict(batch_view(batch)),
        total=lambda batch: batch.items_total,
        part_kind="item",
        part_id="id",
        progress=_item_progress,
    )


def dubbing_feed(
    service: DubbingService, watcher: Events, dubbing_id: str, view: Callable[[Dubbing], dict[str, Any]]
) -> PartsFeed[Dubbing]:
    """Return the feed of spoken subtitles, whose parts are sentences, some of them spoken twice."""
    return PartsFeed(
        queue=service.queue,
        watcher=watcher,
        job_id=dubbing_id,
        load=partial(service.get, dubbing_id),
        view=view,
        total=lambda dubbing: dubbing.utterances_total,
        part_kind="utterance",
        part_id="part",
        progress=_sentence_progress,
    )


def _sentence_progress(done: int, total: int, utterance: dict[str, Any]) -> dict[str, Any]:
    return {
        "status": InferenceStatus.RUNNING,
        "progress": round((1 - ASSEMBLY_SHARE) * done / total, 4),
        "utterances_done": done,
        "utterances_total": total,
        "message": localized(f"Spoke {done} of {total} sentences."),
        "text": utterance["text"],
    }


def _item_progress(done: int, total: int, item: dict[str, Any]) -> dict[str, Any]:
    return {
        "status": InferenceStatus.RUNNING,
        "progress": round(done / total, 4),
        "items_done": done,
        "items_total": total,
        "message": localized(f"{done} of {total} texts have ended."),
        "item": item,
    }
