"""The histories of jobs, tasks and experiments: events, oldest first, each announced as it is added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from core.jobs.job import TERMINAL_EVENTS, Event
from core.jobs.queue_options import OptionedCommands
from core.jobs.transport import AnyTransport, command

TOPIC_SECONDS: Final = 7 * 86_400
"""How long the history of a topic is kept after its last event."""
EVENTS_PAGE: Final = 500
MARKS_TOGETHER: Final = 500


class HistoryCommands(OptionedCommands[AnyTransport]):
    """Commands on the history of a job or a topic."""

    @command
    async def publish_event(self, topic: str, kind: str, data: Mapping[str, object]) -> None:
        """Add an event to the history of a job or a topic and wake those who watch it."""
        await self._run_script("publish_event", topic, kind, orjson.dumps(data), TOPIC_SECONDS)

    @command
    async def event_history(self, topic: str, after: str = "0") -> list[Event]:
        """Return the events of a job or a topic after the one with the id `after`, oldest first."""
        events: list[Event] = []
        while True:
            page = await self._send("XRANGE", self.key(f"events:{topic}"), f"({after}", "+", "COUNT", EVENTS_PAGE)
            events += (Event(id_, fields["kind"], orjson.loads(fields["data"])) for id_, fields in page)
            if len(page) < EVENTS_PAGE:
                return events
            after = events[-1].id

    @command
    async def marks(self, ids: Sequence[str]) -> list[str]:
        """Return a text for each job or topic that changes whenever something happens to it."""
        marks: list[str] = []
        for first in range(0, len(ids), MARKS_TOGETHER):
            marks += await self._run_script("poll", *ids[first : first + MARKS_TOGETHER])
        return marks

    @command
    async def history_has_ended(self, topic: str, last: str) -> bool:
        """Return whether the history has a terminal event at `last`, or as the last one before it."""
        entries = await self._send("XREVRANGE", self.key(f"events:{topic}"), last, "-", "COUNT", 1)
        return any(fields["kind"] in TERMINAL_EVENTS for _, fields in entries)
