"""Waiting for jobs and watching their histories.

A history is a capped stream; each new event is also announced on a channel of the same name. An announcement only
wakes: what happened is read from the stream, or from the job itself. Once a second a process also asks about all that
it watches in one call, so a message that is dropped costs a second and never an event.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import redis.asyncio
from redis.asyncio.client import PubSub

from core.cancellation import cancel_and_wait
from core.errors import NotFound, QueueUnavailable, TimedOut
from core.jobs.job import TERMINAL_EVENTS, Event, Job
from core.jobs.queue import AsyncQueue
from core.redis import OUTAGE_ERRORS

logger = logging.getLogger(__name__)

REREAD_SECONDS: Final = 1.0
"""How often a process asks about all that it watches, and how soon it reads again where Redis was away."""
IDLE_SECONDS: Final = 60.0
"""A waiter reads again after so long at most, whatever it was told; jittered, so that a thousand spread out."""
CONFIRM_SECONDS: Final = 1.0
"""How long the server's confirmation of a subscription is waited for."""
RECONNECT_SECONDS: Final = 0.2


class Events:
    """For event loops; all waiters and watchers of a process share one subscribed connection."""

    def __init__(self, queue: AsyncQueue) -> None:
        self._queue = queue
        self._subscriptions = _Subscriptions(queue)

    async def watch(self, topic: str, after: str = "0") -> AsyncIterator[Event]:
        """Yield the history of a job or a topic after `after`, then new events, until a terminal one.

        An outage of Redis only delays it.
        """
        async with self._subscriptions.listen(topic) as announced:
            ended = False
            while not ended:
                announced.clear()
                pause = IDLE_SECONDS
                try:
                    events = await self._queue.event_history(topic, after)
                    # A watcher that comes back may have seen the history to its end already.
                    ended = not events and await self._queue.history_has_ended(topic, after)
                except QueueUnavailable:
                    events, pause = [], REREAD_SECONDS
                for event in events:
                    after = event.id
                    yield event
                if events:
                    # Only the last event counts: behind an earlier terminal one, the job was replayed.
                    ended = events[-1].kind in TERMINAL_EVENTS
                elif not ended:
                    await _wait(announced, _jitter(pause))

    async def wait(self, job_id: str, timeout: float) -> Job:  # noqa: ASYNC109  # an outcome of its own
        """Wait until a job is done, dead or cancelled, and return it.

        TimedOut after `timeout` seconds (QueueUnavailable, if Redis was away then), NotFound for an unknown job.
        """
        deadline = time.monotonic() + timeout
        async with self._subscriptions.listen(job_id) as announced:
            while True:
                announced.clear()
                pause = IDLE_SECONDS
                seconds_left = deadline - time.monotonic()
                try:
                    job = await self._queue.job(job_id)
                except QueueUnavailable:
                    pause = REREAD_SECONDS
                    if seconds_left <= 0:
                        raise
                else:
                    if job is None:
                        raise NotFound(
                            f"There is no job {job_id!r}.", hint="Results are forgotten after RESULT_EXPIRY_SECONDS."
                        )
                    if job.status.terminal:
                        return job
                    if seconds_left <= 0:
                        raise TimedOut(f"The job {job_id} did not end within {timeout:g} s; it goes on.")
                await _wait(announced, min(seconds_left, _jitter(pause)))

    async def close(self) -> None:
        """Close the subscribed connection; whoever still waits goes on by reading again and again."""
        await self._subscriptions.close()


class _Subscriptions:
    """One subscribed connection, and an asyncio.Event for everyone who listens to one of its channels."""

    def __init__(self, queue: AsyncQueue) -> None:
        self._queue = queue
        self._client: redis.asyncio.Redis = queue.transport.client
        self._own_channel = queue.key("events")
        """Nobody publishes here; a connection without any channel could not be read."""
        self._marks: dict[str, str] = {}
        """Job or topic → what the last call of `marks` said."""
        self._poller: asyncio.Task[None] | None = None
        self._listeners: dict[str, set[asyncio.Event]] = {}
        self._confirmed: dict[str, asyncio.Event] = {}
        self._pubsub: PubSub | None = None
        self._reader: asyncio.Task[None] | None = None
        self._closed = False

    @asynccontextmanager
    async def listen(self, topic: str) -> AsyncIterator[asyncio.Event]:
        """Yield an event that is set at each announcement, once the server has confirmed the subscription."""
        channel = f"{self._own_channel}:{topic}"
        announced = asyncio.Event()
        self._listeners.setdefault(channel, set()).add(announced)
        try:
            if channel not in self._confirmed:
                self._confirmed[channel] = asyncio.Event()
                await self._request("subscribe", channel)
            await _wait(self._confirmed[channel], CONFIRM_SECONDS)
            yield announced
        finally:
            listeners = self._listeners[channel]
            listeners.discard(announced)
            if not listeners:
                del self._listeners[channel], self._confirmed[channel]
                self._marks.pop(topic, None)
                await self._request("unsubscribe", channel)

    async def close(self) -> None:
        """Stop reading for good: listeners that leave later begin no new connection."""
        self._closed = True
        await cancel_and_wait(*(task for task in (self._reader, self._poller) if task is not None))
        self._reader = self._poller = None

    async def _request(self, verb: str, channel: str) -> None:
        """Subscribe or unsubscribe; while there is no connection, the next one begins with all channels."""
        if self._reader is None and not self._closed:
            self._reader = asyncio.create_task(self._read())
            self._poller = asyncio.create_task(self._poll())
        if self._pubsub is not None:
            # The reader meets the same error and reconnects; where it does so at this moment, the writer is missing.
            with suppress(*OUTAGE_ERRORS, AttributeError):
                await getattr(self._pubsub, verb)(channel)

    async def _read(self) -> None:
        """Wake the listeners of announced channels until cancelled, on one connection after the other."""
        while True:
            try:
                async with self._client.pubsub() as pubsub:
                    await pubsub.subscribe(self._own_channel)
                    self._pubsub = pubsub
                    if self._listeners:
                        await pubsub.subscribe(*self._listeners)
                    while True:
                        self._dispatch(await pubsub.get_message(timeout=None))
            except OUTAGE_ERRORS:
                logger.debug("The connection for events broke; connecting again.")
            except Exception:
                logger.exception("Events are late by up to a second.")
            finally:
                self._pubsub = None
            await asyncio.sleep(_jitter(RECONNECT_SECONDS))

    async def _poll(self) -> None:
        """Wake the listeners of what has changed since the last time, announced or not, until cancelled."""
        first = len(self._own_channel) + 1
        while True:
            await asyncio.sleep(REREAD_SECONDS)
            channels = list(self._listeners)
            try:
                marks = await self._queue.marks([channel[first:] for channel in channels])
            except QueueUnavailable:
                continue  # the listeners notice it themselves
            except Exception:
                logger.exception("What is watched could not be asked about.")
                continue
            for channel, mark in zip(channels, marks, strict=True):
                # What is new here is read once more: it may have changed between the first reading and this.
                if channel in self._listeners and self._marks.get(channel[first:]) != mark:
                    self._marks[channel[first:]] = mark
                    self._wake(channel)

    def _wake(self, channel: str) -> None:
        for announced in self._listeners.get(channel, ()):
            announced.set()

    def _dispatch(self, message: dict[str, str] | None) -> None:
        if message is None:
            return
        channel = message["channel"]
        if message["type"] == "subscribe" and channel in self._confirmed:
            self._confirmed[channel].set()
        if message["type"] != "unsubscribe":
            # A subscription wakes, too: what was announced before it is read now.
            self._wake(channel)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _jitter(seconds: float) -> float:
    return seconds * random.uniform(0.7, 1.0)
