"""How commands reach Redis: each is a coroutine, written once, that runs over a blocking or an asynchronous client.

A class of commands derives from `RedisCommands` and marks them with `@command`. Over a `BlockingTransport` a command is
called like any function, over an `AsyncTransport` it is awaited; the type checker knows which.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Coroutine
from functools import cache
from pathlib import Path
from typing import Any, Concatenate, Final, Generic, NamedTuple, ParamSpec, Protocol, TypeVar, overload

import redis
import redis.asyncio
from redis import exceptions

from core.redis import outage_as_queue_unavailable

SHARED_PARTS: Final = ("common", "waiting_lists", "transitions")
"""The files of `core/jobs/lua` whose functions all scripts have."""

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Transport(Protocol):
    """What a command needs of a client."""

    async def execute(self, *command: object) -> Any:
        """Send one command and return its reply."""

    async def sleep(self, seconds: float) -> None:
        """Pause the command."""


AnyTransport = TypeVar("AnyTransport", bound=Transport, covariant=True)


class BlockingTransport:
    """A blocking client. Errors of Redis pass through; see `core.redis.is_connection_error`."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self._execute: Callable[..., Any] = client.execute_command

    async def execute(self, *command: object) -> Any:
        return self._execute(*command)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251  # no event loop runs this coroutine, see `run`

    def run(self, execution: Coroutine[Any, Any, Result]) -> Result:
        """Run a command to its end: with this transport it never suspends, so it needs no event loop."""
        try:
            execution.send(None)
        except StopIteration as end:
            result: Result = end.value
            return result
        raise RuntimeError("A command over a blocking client awaited something else than its transport.")


class AsyncTransport:
    """A client for event loops. While Redis is away or rejects writes, every command raises QueueUnavailable."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self.client = client
        self._execute: Callable[..., Any] = client.execute_command

    async def execute(self, *command: object) -> Any:
        return await self._execute(*command)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def run(self, execution: Coroutine[Any, Any, Result]) -> Result:
        with outage_as_queue_unavailable():
            return await execution


class Script(NamedTuple):
    """One Lua script, preceded by the functions that all of them share."""

    source: str
    sha: str


@cache
def load_script(name: str) -> Script:
    """Return the script `core/jobs/lua/<name>.lua`."""
    folder = Path(__file__).with_name("lua")
    source = "\n".join((folder / f"{part}.lua").read_text() for part in (*SHARED_PARTS, name))
    return Script(source, hashlib.sha1(source.encode()).hexdigest())  # noqa: S324  # the server names scripts so


class RedisCommands(Generic[AnyTransport]):
    """Commands over one transport, all of whose keys begin with the same prefix.

    On a Redis Cluster the prefix holds a hash tag (`{sovits}:`, see `Settings.key_prefix`): a script reaches its keys
    through it.
    """

    def __init__(self, transport: AnyTransport, prefix: str) -> None:
        self.transport = transport
        self.prefix = prefix

    def key(self, name: str) -> str:
        return self.prefix + name

    async def _send(self, *command: object) -> Any:
        """Send a command, and once more when the connection broke; for what is harmless when it is repeated."""
        try:
            return await self.transport.execute(*command)
        except exceptions.ConnectionError:
            return await self.transport.execute(*command)

    async def _run_script(self, name: str, *arguments: object) -> Any:
        """Run a Lua script, which must be harmless when it runs again with the same arguments."""
        script = load_script(name)
        try:
            return await self._send("EVALSHA", script.sha, 1, self.prefix, *arguments)
        except exceptions.NoScriptError:
            return await self._send("EVAL", script.source, 1, self.prefix, *arguments)


class command(Generic[Parameters, Result]):  # a decorator, like `property`
    """A coroutine method of a `RedisCommands` class as its transport runs it: blocking or awaitable."""

    def __init__(self, function: Callable[Concatenate[Any, Parameters], Coroutine[Any, Any, Result]]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(
        self, commands: RedisCommands[BlockingTransport], owner: type | None = None
    ) -> Callable[Parameters, Result]: ...
    @overload
    def __get__(
        self, commands: RedisCommands[AsyncTransport], owner: type | None = None
    ) -> Callable[Parameters, Coroutine[Any, Any, Result]]: ...
    def __get__(self, commands: RedisCommands[Any], owner: type | None = None) -> Callable[Parameters, Any]:
        def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Any:
            return commands.transport.run(self._function(commands, *args, **kwargs))

        return run
