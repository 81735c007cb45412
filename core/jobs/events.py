"""Progress and completion: a capped history in a stream, announced on a channel of the same name.

An announcement only wakes; what happened is read from the stream, or from the job itself. So a message that is dropped
costs a second and never an event.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson
import redis
import redis.asyncio
from redis.asyncio.client import PubSub

from core.errors import NotFound, QueueUnavailable, TimedOut
from core.jobs.job import Job
from core.jobs.queue import PASSING, AsyncQueue, Queue, is_connection_error
from core.jobs.queue_commands import Call, Transitions

logger = logging.getLogger(__name__)

TERMINAL: Final = frozenset({"completed", "failed", "cancelled"})
"""Kinds after which nothing follows, unless a dead letter is replayed."""
REREAD_SECONDS: Final = 1.0
"""A waiter looks again after so long at most even if nobody called; jittered, so that a thousand do not ask in step."""
CONFIRM_SECONDS: Final = 1.0
"""The server's confirmation of a subscription is waited for so long."""
PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Event:
    """One entry of a history."""

    id: str
    """The stream's own: milliseconds and a counter, so later ones sort later."""
    kind: str
    data: dict[str, Any]


class AsyncEvents:
    """For event loops; all waiters and watchers of a process share one subscribed connection."""

    def __init__(self, redis: redis.asyncio.Redis, prefix: str = "sovits:") -> None:
        self._transitions = Transitions(prefix)
        self._queue = AsyncQueue(redis, transitions=self._transitions)
        self._hub = _Hub(redis, self._transitions.key("events"))

    async def publish(self, id_: str, kind: str, data: dict[str, Any]) -> None:
        """Add to the history of a job or a topic and tell who watches."""
        await self._queue.run(self._transitions.publish(id_, kind, data))

    async def history(self, id_: str, after: str = "0") -> list[Event]:
        """What happened after the event with the id `after`, oldest first."""
        events: list[Event] = []
        while True:
            page = await self._queue.run(_read(self._channel(id_), after))
            events += page
            if len(page) < PAGE:
                return events
            after = page[-1].id

    async def watch(self, id_: str, after: str = "0") -> AsyncIterator[Event]:
        """The history after `after`, then what happens, until a terminal event; survives an outage of Redis."""
        channel = self._channel(id_)
        async with self._hub.listen(channel) as bell:
            ended = False
            while not ended:
                bell.clear()
                try:
                    page = await self._queue.run(_read(channel, after))
                    # Seen to its end already by a watcher that comes back.
                    ended = not page and await self._queue.run(_read_end(channel, after))
                except QueueUnavailable:
                    page = []
                for event in page:
                    after = event.id
                    yield event
                if page:
                    # Only the last one counts: behind an earlier end, the job was replayed.
                    ended = page[-1].kind in TERMINAL
                elif not ended:
                    await _hear(bell, _jittered(REREAD_SECONDS))

    async def wait(self, job_id: str, timeout: float) -> Job:  # noqa: ASYNC109  # an outcome of its own
        """The job when it is done, dead or cancelled.

        TimedOut after `timeout` seconds (QueueUnavailable, if Redis was away then), NotFound for an unknown job.
        """
        deadline = time.monotonic() + timeout
        async with self._hub.listen(self._channel(job_id)) as bell:
            while True:
                bell.clear()
                left = deadline - time.monotonic()
                try:
                    job = await self._queue.job(job_id)
                except QueueUnavailable:
                    if left <= 0:
                        raise
                else:
                    if (ended := _check(job, job_id, timeout, left)) is not None:
                        return ended
                await _hear(bell, min(left, _jittered(REREAD_SECONDS)))

    async def close(self) -> None:
        """Stop listening; whoever still waits goes on by looking."""
        await self._hub.close()

    def _channel(self, id_: str) -> str:
        return self._transitions.key(f"events:{id_}")


class Events:
    """For code that may block. Errors of Redis pass through."""

    def __init__(self, redis: redis.Redis, prefix: str = "sovits:") -> None:
        self._redis = redis
        self._transitions = Transitions(prefix)
        self._queue = Queue(redis, transitions=self._transitions)

    def publish(self, id_: str, kind: str, data: dict[str, Any]) -> None:
        """Add to the history of a job or a topic and tell who watches."""
        self._queue.run(self._transitions.publish(id_, kind, data))

    def history(self, id_: str, after: str = "0") -> list[Event]:
        """What happened after the event with the id `after`, oldest first."""
        events: list[Event] = []
        while True:
            page = self._queue.run(_read(self._transitions.key(f"events:{id_}"), after))
            events += page
            if len(page) < PAGE:
                return events
            after = page[-1].id

    def wait(self, job_id: str, timeout: float) -> Job:
        """The job when it is done, dead or cancelled; TimedOut after `timeout` seconds, NotFound for an unknown one.

        While Redis is away it waits on.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                return self._wait(job_id, timeout, deadline)
            except redis.RedisError as error:
                if not is_connection_error(error) or time.monotonic() > deadline:
                    raise
                time.sleep(_jittered(0.2))

    def _wait(self, job_id: str, timeout: float, deadline: float) -> Job:
        with self._redis.pubsub() as channel:  # type: ignore[no-untyped-call]
            channel.subscribe(self._transitions.key(f"events:{job_id}"))
            channel.get_message(timeout=CONFIRM_SECONDS)
            while True:
                left = deadline - time.monotonic()
                if (ended := _check(self._queue.job(job_id), job_id, timeout, left)) is not None:
                    return ended
                channel.get_message(timeout=min(left, _jittered(REREAD_SECONDS)))


def _check(job: Job | None, job_id: str, timeout: float, left: float) -> Job | None:
    """The job if it has ended; None while there is time left."""
    if job is None:
        raise NotFound(f"There is no job {job_id!r}.", hint="Results are forgotten after RESULT_EXPIRY_SECONDS.")
    if job.status.terminal:
        return job
    if left <= 0:
        raise TimedOut(f"The job {job_id} did not end within {timeout:g} s; it goes on.")
    return None


def _read(channel: str, after: str) -> Call[list[Event]]:
    return Call(("XRANGE", channel, f"({after}", "+", "COUNT", PAGE), _parse_entries)


def _read_end(channel: str, after: str) -> Call[bool]:
    """Whether the history ends, at or before `after`, with a terminal event."""
    return Call(
        ("XREVRANGE", channel, after, "-", "COUNT", 1),
        lambda entries: any(event.kind in TERMINAL for event in _parse_entries(entries)),
    )


def _parse_entries(entries: Any) -> list[Event]:
    return [Event(entry, fields["kind"], orjson.loads(fields["data"])) for entry, fields in entries or ()]


class _Hub:
    """One subscribed connection, and a bell for everyone who listens to one of its channels."""

    def __init__(self, redis: redis.asyncio.Redis, own_channel: str) -> None:
        self._redis = redis
        self._own_channel = own_channel
        """Nobody publishes here; a connection without any channel could not be read."""
        self._bells: dict[str, set[asyncio.Event]] = {}
        self._confirmed: dict[str, asyncio.Event] = {}
        self._pubsub: PubSub | None = None
        self._reader: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def listen(self, channel: str) -> AsyncIterator[asyncio.Event]:
        """A bell that rings at each announcement; given once the server has confirmed that it will."""
        bell = asyncio.Event()
        self._bells.setdefault(channel, set()).add(bell)
        try:
            if channel not in self._confirmed:
                self._confirmed[channel] = asyncio.Event()
                await self._tell("subscribe", channel)
            await _hear(self._confirmed[channel], CONFIRM_SECONDS)
            yield bell
        finally:
            bells = self._bells[channel]
            bells.discard(bell)
            if not bells:
                del self._bells[channel], self._confirmed[channel]
                await self._tell("unsubscribe", channel)

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            with suppress(asyncio.CancelledError):
                await self._reader
            self._reader = None

    async def _tell(self, verb: str, channel: str) -> None:
        """Subscribe or unsubscribe; while there is no connection, the next one begins with all channels."""
        if self._reader is None:
            self._reader = asyncio.create_task(self._read())
        if self._pubsub is not None:
            with suppress(*PASSING):  # the reader notices, too, and connects again
                await getattr(self._pubsub, verb)(channel)

    async def _read(self) -> None:
        """Ring at announcements until the end, on one connection after the other."""
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    await self._follow(pubsub)
            except PASSING:
                logger.debug("The connection for events broke; connecting again.")
            except Exception:
                logger.exception("Events are late by up to a second.")
            finally:
                self._pubsub = None
            await asyncio.sleep(_jittered(0.2))

    async def _follow(self, pubsub: PubSub) -> None:
        await pubsub.subscribe(self._own_channel)
        self._pubsub = pubsub
        if self._bells:
            await pubsub.subscribe(*self._bells)
        while True:
            message = await pubsub.get_message(timeout=None)
            if message is None:
                continue
            channel = message["channel"]
            if message["type"] == "subscribe" and channel in self._confirmed:
                self._confirmed[channel].set()
            if message["type"] != "unsubscribe":
                # A subscription rings, too: what was announced while there was none is read now.
                for bell in self._bells.get(channel, ()):
                    bell.set()


async def _hear(bell: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await bell.wait()


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.7, 1.0)
