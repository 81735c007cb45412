"""Sentences of stored records in the language of the request that reads them: what is stored stays English.

Views and feeds of our own API pass what they show through here. Codes, names and log lines stay as they are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from api.http.request_context import current_context
from api.http.sse import ProgressFeed
from api.http.translations import translate, translate_text
from core.errors import ErrorData
from core.jobs.job import Event

LOG: Final = "log"
"""The kind of events that are lines of a log."""


def in_chinese() -> bool:
    """Return whether the caller prefers Chinese; the response then says that it depends on that."""
    context = current_context.get()
    if context is None:
        return False
    context.localized = True
    return context.chinese


def localized(sentence: str, error: ErrorData | Mapping[str, Any] | None = None) -> str:
    """Return a sentence of a record in the caller's language; `error` is the record's, whose message it may be."""
    if not in_chinese() or not sentence:
        return sentence
    if error and sentence == error.get("message"):
        return translate(str(error.get("code", "")), sentence, "")[0]
    return translate_text(sentence)


def localized_error(error: ErrorData | Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a stored error with its message and hint in the caller's language."""
    if error is None:
        return None
    shown = dict(error)
    if in_chinese() and error.get("message"):
        message, hint = translate(str(error.get("code", "")), str(error["message"]), str(error.get("hint", "")))
        shown |= {"message": message, "hint": hint} if "hint" in error else {"message": message}
    return shown


def localized_message(error: ErrorData | Mapping[str, Any] | None) -> str | None:
    """Return the message of a stored error in the caller's language; None without an error."""
    shown = localized_error(error)
    return None if shown is None else str(shown.get("message", ""))


def localized_event(event: Event) -> Event:
    """Return an event whose message, error and hint are in the caller's language; log lines stay as they are."""
    if event.kind == LOG or not in_chinese():
        return event
    data = dict(event.data)
    error = data.get("error")
    if isinstance(error, str):
        # The tasks service's form: the message of the error, with its code and hint beside it.
        stored = {"code": data.get("error_code", ""), "message": error, "hint": data.get("hint", "")}
        shown = localized_error(stored) or stored
        data |= {"error": shown["message"]} | ({"hint": shown["hint"]} if "hint" in data else {})
        error = stored
    elif isinstance(error, Mapping):
        data["error"] = localized_error(error)
    if isinstance(data.get("message"), str):
        data["message"] = localized(data["message"], error if isinstance(error, Mapping) else None)
    return Event(event.id, event.kind, data)


@dataclass(frozen=True, slots=True)
class LocalizedFeed:
    """A feed whose events are in the caller's language."""

    feed: ProgressFeed

    def __post_init__(self) -> None:
        in_chinese()  # before the headers are sent

    async def history(self, after: str) -> list[Event]:
        """Return the past events after that id."""
        return [localized_event(event) for event in await self.feed.history(after)]

    async def events(self, after: str) -> AsyncIterator[Event]:
        """Yield the past events after that id, then new ones."""
        async for event in self.feed.events(after):
            yield localized_event(event)

    async def terminal_event(self) -> Event | None:
        """Return the last event once all has ended, else None."""
        event = await self.feed.terminal_event()
        return localized_event(event) if event is not None else None
