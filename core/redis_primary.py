"""Find the server that accepts writes: the primary that sentinels name, or the node of a cluster that has our keys."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import closing
from typing import Any, Final

import redis
from redis import exceptions
from redis.asyncio.connection import Connection as AsyncConnection
from redis.asyncio.connection import SSLConnection as AsyncTlsConnection
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection
from redis.crc import key_slot
from redis.retry import Retry

from core.redis_address import RedisAddress

LOOKUP_SECONDS: Final = 2.0
"""A sentinel or a node that does not answer in this time is passed over."""


class PrimaryFinder:
    """Asks the sentinels or the nodes of an address, each connection anew: after a failover the answer is another."""

    def __init__(self, address: RedisAddress) -> None:
        self.asks = address.kind != "server"
        """Whether somebody must be asked, over the network."""
        self._address = address
        self._seeds = deque(address.seeds)
        self._slot = key_slot(address.prefix.encode())

    def find(self) -> tuple[str, int]:
        """Return host and port. Raises redis.ConnectionError when nobody knows."""
        if not self.asks:
            return self._address.seeds[0]
        problems: list[str] = []
        errors: list[exceptions.RedisError] = []
        for host, port in list(self._seeds):
            try:
                return self._ask(host, port)
            except exceptions.RedisError as error:
                problems.append(f"{host}:{port}: {error}")
                errors.append(error)
                self._seeds.rotate(-1)  # the next connection begins with another
        rejected = all(isinstance(error, exceptions.AuthenticationError) for error in errors)
        error_class = exceptions.AuthenticationError if rejected else exceptions.ConnectionError
        raise error_class(f"Nobody knows where {self._address} is ({'; '.join(problems)})")

    def _ask(self, host: str, port: int) -> tuple[str, int]:
        address = self._address
        is_sentinel = address.kind == "sentinel"
        options = {**(address.sentinel_options or {})} if is_sentinel else {**address.options, "db": 0}
        with closing(
            redis.Redis(
                host=host,
                port=port,
                ssl=address.tls,
                decode_responses=True,
                protocol=2,
                socket_timeout=LOOKUP_SECONDS,
                socket_connect_timeout=LOOKUP_SECONDS,
                retry=Retry(NoBackoff(), 0),
                **options,
            )
        ) as client:
            execute: Any = client.execute_command
            if is_sentinel:
                reply = execute("SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service)
                if not reply:
                    raise exceptions.ConnectionError(f"it watches no primary named {address.service!r}")
                return str(reply[0]), int(reply[1])
            owners = execute("CLUSTER", "SLOTS")
        for node in (node for row in owners for node in row[2:]):
            seed = (node[0] or host, int(node[1]))
            if seed not in self._seeds:
                self._seeds.append(seed)
        for first, last, owner, *_ in owners:
            if first <= self._slot <= last:
                return owner[0] or host, int(owner[1])
        raise exceptions.ConnectionError("no node has the slot of the prefix")


_NOT_PRIMARY: Final = (exceptions.ReadOnlyError, exceptions.MovedError)


class PrimaryConnection(Connection):
    """A connection that looks for the primary each time it is opened, and breaks once its server is none any more."""

    def __init__(self, *, finder: PrimaryFinder, **options: Any) -> None:
        self._finder = finder
        super().__init__(**options)  # type: ignore[no-untyped-call,unused-ignore]

    def _connect(self) -> Any:
        self.host, self.port = self._finder.find()
        return super()._connect()  # type: ignore[no-untyped-call,unused-ignore]

    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return super().read_response(*args, **options)  # type: ignore[no-untyped-call,unused-ignore]
        except _NOT_PRIMARY as error:
            self.disconnect()  # type: ignore[no-untyped-call,unused-ignore]
            raise exceptions.ConnectionError(str(error)) from error


class PrimaryTlsConnection(PrimaryConnection, SSLConnection):
    """The same over TLS."""


class AsyncPrimaryConnection(AsyncConnection):
    """The same for event loops."""

    def __init__(self, *, finder: PrimaryFinder, **options: Any) -> None:
        self._finder = finder
        super().__init__(**options)  # type: ignore[no-untyped-call,unused-ignore]

    async def _connect(self) -> None:
        if self._finder.asks:
            self.host, self.port = await asyncio.to_thread(self._finder.find)
        else:
            self.host, self.port = self._finder.find()
        await super()._connect()  # type: ignore[no-untyped-call,unused-ignore]

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)
        except _NOT_PRIMARY as error:
            await self.disconnect(nowait=True)
            raise exceptions.ConnectionError(str(error)) from error


class AsyncPrimaryTlsConnection(AsyncPrimaryConnection, AsyncTlsConnection):
    """The same for event loops, over TLS."""
