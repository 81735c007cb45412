"""The services that every role gets: settings, storage, the queue, and the asynchronous ones behind `call`."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import redis.asyncio

from core.jobs.events import Events
from core.jobs.queue import AsyncQueue, Queue
from core.jobs.queue_options import QueueOptions
from core.redis import connect, connect_async
from core.settings import Settings
from core.storage import open_storage
from core.tracing import Tracing

if TYPE_CHECKING:  # SQLAlchemy takes a quarter of a second to import, and not every role needs it
    from core.experiments.service import ExperimentService
    from core.records import Records

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class WorkerServices:
    """What a role works with. Roles are synchronous; records and experiments live on an event loop in its own thread.

    Reach those only through `call`: `services.call(services.records.voices.get, voice_id)`.
    """

    def __init__(self, settings: Settings, redis_url: str, *, device: str = "cpu", threads: int = 0) -> None:
        self.settings = settings
        self.redis_url = redis_url
        self.device = device
        """`cpu`, `cuda` or `mps`; which GPU that is, the environment has already decided."""
        self.threads = threads or int(os.environ.get("OMP_NUM_THREADS", "0")) or os.cpu_count() or 1
        """Cores for numeric libraries."""
        self.worker_id = ""
        """Of the process to the queue; empty outside of a worker."""
        self.host = ""
        self.device_name = device
        """`cpu` or `cuda:N`, as the driver numbers it."""
        self.tracing = Tracing(settings, "worker")
        self.storage = open_storage(settings)
        self.redis = connect(redis_url)
        self.queue = Queue(self.redis, QueueOptions.from_settings(settings))

    @cached_property
    def async_queue(self) -> AsyncQueue:
        return AsyncQueue(self._async_redis, QueueOptions.from_settings(self.settings))

    @cached_property
    def events(self) -> Events:
        return Events(self.async_queue)

    @cached_property
    def records(self) -> Records:
        from core.records import Records

        return Records.from_settings(self.settings)

    @cached_property
    def experiments(self) -> ExperimentService:
        from core.experiments.model_versions import ModelVersions
        from core.experiments.service import ExperimentService

        versions = ModelVersions(self.settings.models_folder)
        return ExperimentService(self.records, self.async_queue, self.events, self.storage, versions=versions)

    def call(
        self,
        function: Callable[Parameters, Coroutine[Any, Any, Result]],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Run a coroutine function on the event loop and wait for its result."""
        return asyncio.run_coroutine_threadsafe(function(*args, **kwargs), self._loop).result()

    def close(self) -> None:
        """Close every connection that was opened, and end the event loop."""
        if "_loop" in self.__dict__:
            self.call(self._close_async)
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
    def _async_redis(self) -> redis.asyncio.Redis:
        return connect_async(self.redis_url)

    async def _close_async(self) -> None:
        opened = self.__dict__
        if "events" in opened:
            await self.events.close()
        if "records" in opened:
            await self.records.close()
        if "_async_redis" in opened:
            await self._async_redis.aclose()
