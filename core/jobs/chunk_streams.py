"""Reading the audio of jobs while it is made.

A job that speaks a part of a stream publishes chunks into a stream of its own on Redis, which ends with the job's
result or error (core/jobs/lua/publish_chunk.lua, transitions.lua). It expires a minute after nobody read or wrote it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson
import redis.asyncio

from common.json_types import JsonObject
from core.cancellation import cancel_and_wait
from core.errors import ErrorData, NotFound, QueueUnavailable, SovitsError, TimedOut
from core.ids import new_id
from core.jobs.job import JobStatus
from core.jobs.queue import AsyncQueue
from core.redis import is_connection_error

logger = logging.getLogger(__name__)

BLOCK_MILLISECONDS: Final = 4000
"""One blocking read lasts at most so long."""
BUFFERED_CHUNKS: Final = 4
"""Chunks of one stream that this process holds; the rest stays in Redis until these are taken."""
TRIM_CHUNKS: Final = 32
"""Chunks of one stream after whose arrival they are deleted from Redis."""
LISTENING_SECONDS: Final = 5.0
"""For so long a process counts as listening after it last said so."""
BEAT_SECONDS: Final = 1.0
REFRESH_SECONDS: Final = 20.0
STREAM_SECONDS: Final = 60
"""How long a stream is kept that nobody reads or writes."""
CHECK_SECONDS: Final = 2.0
"""After so long without a chunk, the job itself is looked at: its stream may have been lost."""
RECONNECT_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class PublishedChunk:
    """Consecutive 16-bit mono samples."""

    samples: bytes
    sample_rate: int
    words: tuple[JsonObject, ...] = ()
    """Those that end in the samples."""


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The end of a stream: how its job ended."""

    status: JobStatus
    result: JsonObject | None = None
    """Of a job that is done."""
    error: ErrorData | None = None


class ChunkStream:
    """The stream of one job; `ChunkStreams.open` returns it."""

    def __init__(self, streams: ChunkStreams, job_id: str) -> None:
        self.job_id = job_id
        self.last_id = "0"
        self._streams = streams
        self._entries: deque[PublishedChunk | StreamEnd] = deque()
        self._arrived = asyncio.Event()
        self._position = 0
        self._chunks = 0
        self._ended = False
        self._failure: Exception | None = None

    @property
    def has_room(self) -> bool:
        """Whether more of it should be read from Redis."""
        return not self._ended and len(self._entries) < BUFFERED_CHUNKS

    async def read(self, timeout: float) -> PublishedChunk | StreamEnd:  # noqa: ASYNC109  # an outcome of its own
        """Return the next chunk, or the end.

        TimedOut after `timeout` seconds without either (QueueUnavailable, if Redis was away then), NotFound when the
        job was forgotten, and the error that interrupts it.
        """
        deadline = time.monotonic() + timeout
        lost = False
        while not self._entries:
            if self._failure is not None:
                raise self._failure
            seconds_left = deadline - time.monotonic()
            if seconds_left <= 0:
                raise TimedOut(f"No audio of the job {self.job_id} arrived for {timeout:g} s.")
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(seconds_left, CHECK_SECONDS)):
                    await self._arrived.wait()
                continue
            try:
                job = await self._streams.queue.job(self.job_id)
            except QueueUnavailable:
                if deadline - time.monotonic() <= 0:
                    raise
                continue
            if job is None:
                raise NotFound(f"The job {self.job_id} was forgotten before all of its audio was read.")
            if job.status.terminal and lost and not self._entries:  # the second time: its end had time to arrive
                return StreamEnd(job.status, job.result, job.error)
            lost = job.status.terminal
        full = not self.has_room
        entry = self._entries.popleft()
        if full and self.has_room:
            self._streams.wake()
        return entry

    def interrupt(self, error: Exception) -> None:
        """Have `read` raise an error once there is nothing more to return."""
        self._failure = error
        self._arrived.set()

    def close(self) -> None:
        """Read no more of it; what was published is deleted."""
        self._streams.forget(self)

    def receive(self, entry_id: str, fields: dict[bytes, bytes]) -> None:
        """Take an entry that was read from Redis."""
        self.last_id = entry_id
        entry: PublishedChunk | StreamEnd
        if b"end" in fields:
            status, data = JobStatus(fields[b"end"].decode()), orjson.loads(fields[b"data"])
            done = status is JobStatus.DONE
            entry = StreamEnd(status, data if done else None, None if done or not data else data)
            self._ended = True
        else:
            samples, at = fields[b"pcm"], int(fields[b"at"])
            if at != self._position:
                lost = SovitsError(f"Audio was lost: {at - self._position} bytes.")
                entry, self._ended = StreamEnd(JobStatus.DEAD, error=lost.as_dict()), True
            else:
                words = orjson.loads(fields[b"words"]) if b"words" in fields else ()
                entry = PublishedChunk(samples, int(fields[b"rate"]), tuple(words))
                self._position += len(samples)
        self._chunks += 1
        self._entries.append(entry)
        self._arrived.set()

    @property
    def should_be_trimmed(self) -> bool:
        """Whether enough chunks have arrived to delete them from Redis."""
        return self._chunks % TRIM_CHUNKS == 0


class ChunkStreams:
    """Reads all streams that this process listens to, over one connection. For one event loop."""

    def __init__(self, queue: AsyncQueue, client: redis.asyncio.Redis) -> None:
        """`client` is one whose replies are bytes."""
        self.queue = queue
        self.listener = new_id("listener")
        """The name of this process in jobs: they are cancelled when nobody listens to them any more."""
        self._execute: Callable[..., Any] = client.execute_command
        self._streams: dict[bytes, ChunkStream] = {}
        self._changed = asyncio.Event()
        self._wake_key = queue.key(f"wake:{self.listener}")
        self._wake_id = "0"
        self._blocked = False
        self._listening_until = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []

    async def open(self, job_id: str) -> ChunkStream:
        """Begin to listen to a job, which may not exist yet."""
        if not self._loops:
            self._loops = [asyncio.create_task(self._read()), asyncio.create_task(self._beat())]
        if time.monotonic() > self._listening_until - LISTENING_SECONDS / 2:
            await self._keep_listening()
        stream = ChunkStream(self, job_id)
        self._streams[self._key(job_id).encode()] = stream
        self.wake()
        return stream

    def forget(self, stream: ChunkStream) -> None:
        """Read no more of a stream, and delete what was published of it."""
        key = self._key(stream.job_id)
        if self._streams.pop(key.encode(), None) is not None:
            self._start(self._try("UNLINK", key))

    def wake(self) -> None:
        """Read what is new in streams that the read under way leaves out."""
        self._changed.set()
        if self._blocked:
            self._blocked = False
            self._start(self._interrupt())

    async def close(self) -> None:
        """Stop reading; jobs that nobody hears any more are cancelled when their turn comes."""
        await cancel_and_wait(*self._loops, *self._tasks)
        await asyncio.gather(*self._loops, *self._tasks, return_exceptions=True)
        if self._loops:
            with suppress(QueueUnavailable):
                await self.queue.keep_listening(self.listener, 0)

    def _key(self, job_id: str) -> str:
        return self.queue.key(f"audio:{job_id}")

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _interrupt(self) -> None:
        await self._try("XADD", self._wake_key, "MAXLEN", 1, "*", "wake", 1)

    async def _keep_listening(self) -> None:
        await self.queue.keep_listening(self.listener, LISTENING_SECONDS)
        self._listening_until = time.monotonic() + LISTENING_SECONDS

    async def _beat(self) -> None:
        """Say that this process listens, and keep its streams, as long as it has any."""
        refreshed_at = 0.0
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            if not self._streams:
                continue
            try:
                await self._keep_listening()
                if time.monotonic() - refreshed_at > REFRESH_SECONDS:
                    for key in (*self._streams, self._wake_key):
                        await self._try("EXPIRE", key, STREAM_SECONDS)
                    refreshed_at = time.monotonic()
            except QueueUnavailable:
                logger.debug("The queue is away; listening is recorded once it is back.")
            except Exception:
                logger.exception("That this process listens could not be recorded.")

    async def _read(self) -> None:
        """Read chunks until cancelled, on one connection after the other."""
        while True:
            self._changed.clear()
            streams = {key: stream for key, stream in self._streams.items() if stream.has_room}
            if not streams:
                await self._changed.wait()
                continue
            try:
                await self._read_once(streams)
            except Exception as error:
                if is_connection_error(error):
                    logger.debug("The connection for audio broke; connecting again.")
                else:
                    logger.exception("Audio is late.")
                await asyncio.sleep(RECONNECT_SECONDS)
            finally:
                self._blocked = False

    async def _read_once(self, streams: dict[bytes, ChunkStream]) -> None:
        keys = [*streams, self._wake_key]
        ids = [*(stream.last_id for stream in streams.values()), self._wake_id]
        self._blocked = True
        reply = await self._execute(
            "XREAD", "COUNT", BUFFERED_CHUNKS, "BLOCK", BLOCK_MILLISECONDS, "STREAMS", *keys, *ids
        )
        for key, entries in reply or ():
            if key not in streams:
                self._wake_id = entries[-1][0].decode()
                continue
            for entry_id, fields in entries:
                streams[key].receive(entry_id.decode(), fields)
            if streams[key].should_be_trimmed:
                self._start(self._trim(key, streams[key].last_id))

    async def _trim(self, key: bytes, last_id: str) -> None:
        await self._try("XTRIM", key, "MINID", last_id)

    async def _try(self, *command: object) -> None:
        """Send a command that may be lost: the reader looks again in some seconds, and streams expire."""
        try:
            await self._execute(*command)
        except Exception as error:
            if not is_connection_error(error):
                raise
            logger.debug("The queue is away: %s", error)
