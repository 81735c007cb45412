"""Clients of Redis with the right timeouts, and which of their errors pass by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import redis
import redis.asyncio
from redis import exceptions
from redis.asyncio.connection import BlockingConnectionPool
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.errors import QueueUnavailable
from core.redis_address import parse_redis_url
from core.redis_primary import (
    AsyncPrimaryConnection,
    AsyncPrimaryTlsConnection,
    PrimaryConnection,
    PrimaryFinder,
    PrimaryTlsConnection,
)

SOCKET_SECONDS: Final = 10.0
"""A reply may take so long: the longest blocking pop (core/jobs/worker_commands.py) and 5 s."""
CONNECT_SECONDS: Final = 5.0
ASYNC_CONNECTIONS: Final = 64
"""Of one event loop; a command beyond waits for one of them."""
POOL_SECONDS: Final = 60.0
"""How long: thousands of requests at once have their turn."""

_OPTIONS: Final[dict[str, Any]] = {
    "decode_responses": True,
    "protocol": 2,
    "socket_timeout": SOCKET_SECONDS,
    "socket_connect_timeout": CONNECT_SECONDS,
    "socket_keepalive": True,
}

OUTAGE_ERRORS: Final = (
    exceptions.ConnectionError,  # also authentication and loading
    exceptions.TimeoutError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
    exceptions.AskError,  # a slot is being moved
    exceptions.MovedError,
    QueueUnavailable,
)
"""What a client raises while Redis is away or rejects writes."""
_OUTAGE_CODES: Final = ("OOM", "READONLY", "MISCONF", "NOREPLICAS", "MASTERDOWN", "LOADING", "UNBLOCKED", "BUSY")


def connect(url: str, *, socket_seconds: float = SOCKET_SECONDS) -> redis.Redis:
    """Return a client that never repeats a command by itself: only the queue knows what may be sent again.

    `socket_seconds`: how long a reply, and a connection, may take at most.
    """
    address = parse_redis_url(url)
    options = {
        **_OPTIONS,
        "socket_timeout": socket_seconds,
        "socket_connect_timeout": min(socket_seconds, CONNECT_SECONDS),
        "retry": Retry(NoBackoff(), 0),
    }
    if not address.seeds:
        return redis.Redis.from_url(url, **options)
    connection_class = PrimaryTlsConnection if address.tls else PrimaryConnection
    pool = redis.ConnectionPool(
        connection_class=connection_class, finder=PrimaryFinder(address), **options, **address.options
    )
    return redis.Redis.from_pool(pool)


def connect_async(url: str, *, decode_responses: bool = True) -> redis.asyncio.Redis:
    """Return the same client for event loops; without `decode_responses` its replies are bytes."""
    address = parse_redis_url(url)
    options = {
        **_OPTIONS,
        "decode_responses": decode_responses,
        "retry": AsyncRetry(NoBackoff(), 0),
        "max_connections": ASYNC_CONNECTIONS,
        "timeout": POOL_SECONDS,
    }
    if not address.seeds:
        return redis.asyncio.Redis.from_pool(BlockingConnectionPool.from_url(url, **options))
    connection_class = AsyncPrimaryTlsConnection if address.tls else AsyncPrimaryConnection
    pool = BlockingConnectionPool(
        connection_class=connection_class, finder=PrimaryFinder(address), **options, **address.options
    )
    return redis.asyncio.Redis.from_pool(pool)


def is_connection_error(error: BaseException) -> bool:
    """Return whether Redis is away or rejects writes, which passes; any other error is a fault of ours."""
    if isinstance(error, exceptions.ResponseError) and str(error).startswith(_OUTAGE_CODES):
        return True
    return isinstance(error, OUTAGE_ERRORS)


@contextmanager
def outage_as_queue_unavailable() -> Iterator[None]:
    """Raise QueueUnavailable in place of an error of Redis that passes."""
    try:
        yield
    except exceptions.RedisError as error:
        if not is_connection_error(error):
            raise
        reason = str(error).partition(" script:")[0].rstrip(".")
        raise QueueUnavailable(f"The queue cannot be used now: {reason}.", hint="Try again in a moment.") from error
