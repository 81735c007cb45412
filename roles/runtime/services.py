"""What every role is given: settings, storage, the queue, and the async world behind `call`."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from core.jobs.queue import AsyncQueue, Queue
from core.redis import connect, connect_async
from core.settings import Settings
from core.storage import open_storage

if TYPE_CHECKING:
    from core.experiments.service import ExperimentService
    from core.jobs.events import AsyncEvents, Events
    from core.records import Records

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Services:
    """A role is synchronous; records and experiments are not, and live on a loop in a thread of their own.

    Reach them only through `call`: `services.call(services.records.voices.get, voice_id)`.
    """

    def __init__(self, settings: Settings, redis_url: str, *, device: str = "cpu", threads: int = 0) -> None:
        self.settings = settings
        self.redis_url = redis_url
        self.device = device
        """`cpu` or `cuda`; which GPU that is, the environment has already decided."""
        self.threads = threads or int(os.environ.get("OMP_NUM_THREADS", "0")) or os.cpu_count() or 1
        """Cores for number libraries."""
        self.storage = open_storage(settings)
        self.redis = connect(redis_url)
        self.queue = Queue.from_settings(self.redis, settings)

    @property
    def training_threads(self) -> int:
        """Cores for a training process: the trainer itself only waits for it."""
        return self.threads

    @cached_property
    def events(self) -> Events:
        from core.jobs.events import Events

        return Events(self.redis, self.settings.redis_prefix)

    @cached_property
    def async_queue(self) -> AsyncQueue:
        return AsyncQueue.from_settings(self._async_redis, self.settings)

    @cached_property
    def async_events(self) -> AsyncEvents:
        from core.jobs.events import AsyncEvents

        return AsyncEvents(self._async_redis, self.settings.redis_prefix)

    @cached_property
    def records(self) -> Records:
        from core.records import Records

        return Records(self.settings.resolved_database_url)

    @cached_property
    def experiments(self) -> ExperimentService:
        from core.experiments.service import ExperimentService

        return ExperimentService(self.records, self.async_queue, self.async_events, self.storage)

    def call(
        self,
        function: Callable[Arguments, Coroutine[Any, Any, Result]],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Run a coroutine function on the loop and wait for its result."""
        return asyncio.run_coroutine_threadsafe(function(*args, **kwargs), self._loop).result()

    def close(self) -> None:
        """Close what was opened."""
        if "_loop" in self.__dict__:
            asyncio.run_coroutine_threadsafe(self._close_async(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
        self.redis.close()

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=loop.run_forever, name="async", daemon=True)
        self._thread.start()
        return loop

    @cached_property
    def _async_redis(self) -> Any:
        return connect_async(self.redis_url)

    async def _close_async(self) -> None:
        if "async_events" in self.__dict__ and hasattr(self.async_events, "close"):
            await self.async_events.close()
        if "records" in self.__dict__:
            await self.records.close()
        if "_async_redis" in self.__dict__:
            await self._async_redis.aclose()
