"""The queue on Redis: `Queue` for code that may block, such as workers, and `AsyncQueue` for event loops."""

from __future__ import annotations

import redis
import redis.asyncio

from core.jobs.queue_commands import QueueCommands
from core.jobs.queue_options import QueueOptions
from core.jobs.transport import AsyncTransport, BlockingTransport


class Queue(QueueCommands[BlockingTransport]):
    """The blocking queue, for any thread. Errors of Redis pass through; see `core.redis.is_connection_error`."""

    def __init__(self, client: redis.Redis, options: QueueOptions | None = None) -> None:
        super().__init__(BlockingTransport(client), options)


class AsyncQueue(QueueCommands[AsyncTransport]):
    """The queue for event loops. While Redis is away or rejects writes, every command raises QueueUnavailable."""

    def __init__(self, client: redis.asyncio.Redis, options: QueueOptions | None = None) -> None:
        super().__init__(AsyncTransport(client), options)
