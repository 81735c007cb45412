"""Progress and completion: a capped history in a stream, announced on a channel of the same name.

An announcement only wakes; what happened is read from the stream or the job itself. So a dropped message costs a
second, never an event.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import orjson
import redis
import redis.asyncio

from core.errors import NotFound, QueueUnavailable, TimedOut
from core.job import Job
from core.queue import is_connection_error
from core.transitions import parse_job, script_source

logger = logging.getLogger(__name__)

TERMINAL: Final = frozenset({"completed", "failed", "cancelled"})
"""Kinds after which nothing follows (a replayed dead letter begins anew)."""
REREAD_SECONDS: Final = 1.0
CONFIRM_SECONDS: Final = 1.0
PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of a history."""

    id: str
    """The stream's own: time and counter; later events sort later."""
    kind: str
    data: dict[str, Any]


class AsyncEvents:
    """For event loops; all watchers of a process share one subscribed connection."""

    def __init__(self, client: redis.asyncio.Redis, prefix: str = "sovits:") -> None:
        self.redis = client
        self.prefix = prefix
        self._tell = client.register_script(script_source("tell"))
        self._hub = _Hub(client)

    async def publish(self, id_: str, kind: str, data: dict[str, Any]) -> None:
        """Add to the history of a job or a topic and wake who watches."""
        try:
            await self._tell(keys=[self.prefix], args=[id_, kind, orjson.dumps(data)])
        except Exception as error:
            raise _unavailable(error) from error

    async def history(self, id_: str, after: str = "0") -> list[Event]:
        """What happened after the event `after`, oldest first."""
        try:
            entries: Any = await self.redis.xrange(
                self._key(id_), f"({after}" if after != "0" else "-", "+", count=PAGE
            )
        except Exception as error:
            raise _unavailable(error) from error
        return [Event(entry, fields["kind"], orjson.loads(fields["data"])) for entry, fields in entries]

    async def watch(self, id_: str, after: str = "0") -> AsyncIterator[Event]:
        """History after `after`, then live, until a terminal event; goes on when Redis comes back."""
        async with self._hub.listen(self._key(id_)) as wake:
            while True:
                wake.clear()
                try:
                    found = await self.history(id_, after)
                except QueueUnavailable:
                    found = []
                for event in found:
                    after = event.id
                    yield event
                    if event.kind in TERMINAL:
                        return
                if len(found) < PAGE:
                    await _wait(wake, _jittered(REREAD_SECONDS))

    async def wait(self, job_id: str, timeout: float) -> Job:
        """The job once it is done, dead or cancelled; TimedOut after `timeout` seconds, NotFound for an unknown one."""
        deadline = time.monotonic() + timeout
        async with self._hub.listen(self._key(job_id)) as wake:
            while True:
                wake.clear()
                job = await self._read(job_id)
                if job is not None and job.status.terminal:
                    return job
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimedOut(f"The job {job_id} did not end within {timeout:g} s; it goes on.")
                await _wait(wake, min(left, _jittered(REREAD_SECONDS)))

    async def close(self) -> None:
        """Stop listening."""
        await self._hub.close()

    async def _read(self, job_id: str) -> Job | None:
        try:
            fields: Any = await self.redis.hgetall(f"{self.prefix}job:{job_id}")
        except Exception as error:
            if not is_connection_error(error):
                raise
            return None  # asked again in a second, until the caller's patience ends
        if not fields:
            raise NotFound(f"There is no job {job_id!r}.", hint="Results are kept for RESULT_EXPIRY_SECONDS.")
        return parse_job(fields)

    def _key(self, id_: str) -> str:
        return f"{self.prefix}events:{id_}"


class Events:
    """For code that may block."""

    def __init__(self, client: redis.Redis, prefix: str = "sovits:") -> None:
        self.redis = client
        self.prefix = prefix
        self._tell = client.register_script(script_source("tell"))

    def publish(self, id_: str, kind: str, data: dict[str, Any]) -> None:
        """Add to the history of a job or a topic and wake who watches."""
        self._tell(keys=[self.prefix], args=[id_, kind, orjson.dumps(data)])

    def wait(self, job_id: str, timeout: float) -> Job:
        """The job once it is done, dead or cancelled; TimedOut after `timeout` seconds, NotFound for an unknown one."""
        deadline = time.monotonic() + timeout
        with self.redis.pubsub() as channel:  # type: ignore[no-untyped-call]
            channel.subscribe(f"{self.prefix}events:{job_id}")
            channel.get_message(timeout=CONFIRM_SECONDS)
            while True:
                fields: Any = self.redis.hgetall(f"{self.prefix}job:{job_id}")
                if not fields:
                    raise NotFound(f"There is no job {job_id!r}.")
                job = parse_job(fields)
                left = deadline - time.monotonic()
                if job.status.terminal:
                    return job
                if left <= 0:
                    raise TimedOut(f"The job {job_id} did not end within {timeout:g} s; it goes on.")
                channel.get_message(timeout=min(left, _jittered(REREAD_SECONDS)))


class _Hub:
    """One subscribed connection that wakes whoever listens to a channel."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._pubsub = client.pubsub()
        self._listeners: dict[str, set[asyncio.Event]] = {}
        self._confirmed: dict[str, asyncio.Event] = {}
        self._reader: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set at every announcement; entered once the server has confirmed the subscription."""
        wake = asyncio.Event()
        first = channel not in self._listeners
        self._listeners.setdefault(channel, set()).add(wake)
        try:
            if first:
                await self._subscribe(channel)
            if confirmed := self._confirmed.get(channel):
                await _wait(confirmed, CONFIRM_SECONDS)
            yield wake
        finally:
            self._listeners[channel].discard(wake)
            if not self._listeners[channel]:
                del self._listeners[channel]
                self._confirmed.pop(channel, None)
                await self._forget(channel)

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]

    async def _subscribe(self, channel: str) -> None:
        self._confirmed[channel] = asyncio.Event()
        try:
            await self._pubsub.subscribe(channel)
        except Exception as error:
            if not is_connection_error(error):
                raise
            # Whoever waits reads again every second; the reader subscribes when Redis is back.
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read())

    async def _forget(self, channel: str) -> None:
        try:
            await self._pubsub.unsubscribe(channel)
        except Exception as error:
            if not is_connection_error(error):
                raise

    async def _read(self) -> None:
        """Pass announcements on for as long as the process listens to anything."""
        while True:
            try:
                if not self._pubsub.subscribed:
                    await asyncio.sleep(0.05)
                    continue
                message = await self._pubsub.get_message(timeout=REREAD_SECONDS)
            except Exception as error:
                if not is_connection_error(error):
                    raise
                await asyncio.sleep(_jittered(0.5))
                await self._resubscribe()
                continue
            if message is not None:
                self._pass_on(message)

    async def _resubscribe(self) -> None:
        """Redis was away: subscribe again, and wake everyone to read what was missed."""
        try:
            if self._listeners:
                await self._pubsub.subscribe(*self._listeners)
        except Exception as error:
            if not is_connection_error(error):
                raise
            return
        for listeners in self._listeners.values():
            for wake in listeners:
                wake.set()

    def _pass_on(self, message: dict[str, Any]) -> None:
        channel = message["channel"]
        if message["type"] == "subscribe":
            if confirmed := self._confirmed.get(channel):
                confirmed.set()
        elif message["type"] == "message":
            for wake in self._listeners.get(channel, ()):
                wake.set()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _jittered(seconds: float) -> float:
    """So that a thousand waiters do not ask in step."""
    return seconds * random.uniform(0.8, 1.2)


def _unavailable(error: Exception) -> Exception:
    if not is_connection_error(error):
        return error
    return QueueUnavailable(f"Redis cannot be used now: {error}.", hint="Try again in a moment.")
