"""The supervisor, one a host: starts what the plan says, keeps it running, ends it without losing work."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.datasets import DatasetService
from core.errors import InvalidRequest, QueueUnavailable
from core.experiments.retention import RetentionPolicy
from core.experiments.service import ExperimentService
from core.jobs.events import AsyncEvents
from core.jobs.queue import AsyncQueue
from core.jobs.roles import WAITING_LISTS
from core.logs import configure_logs
from core.records import Records, upgrade
from core.redis import EmbeddedServer, connect_async
from core.settings import Settings
from core.storage import open_storage
from supervisor.bundled import publish_bundled_voices
from supervisor.child_monitor import BootFailed, ChildSpec, Keeper
from supervisor.children import api_spec, worker_spec
from supervisor.devices import available_memory_mb, count_cores, find_gpus
from supervisor.lock import only_one
from supervisor.maintenance import RECONCILE_SECONDS, Chore, Upkeep
from supervisor.notify import notify, watchdog_seconds
from supervisor.periodic_actions import Promises
from supervisor.plan import plan

logger = logging.getLogger(__name__)

API_GRACE_SECONDS = 3.0
"""What the API gets for its last answers once no worker is left."""
SERVER_CHECK_SECONDS = 0.2
READY_CHECK_SECONDS = 0.25


def serve(settings: Settings, *, roles: str = "", with_api: bool = True) -> int:
    """Run this host until SIGTERM; `roles` by name, separated by commas, all when empty. The exit code."""
    wanted = tuple(role.strip() for role in roles.split(",") if role.strip()) or tuple(WAITING_LISTS)
    if unknown := [role for role in wanted if role not in WAITING_LISTS]:
        raise InvalidRequest(f"No role is named {unknown[0]!r}; there are {', '.join(WAITING_LISTS)}.")
    configure_logs(settings.log_format, settings.log_level)

    async def run() -> int:
        return await Supervisor(settings, roles=wanted, with_api=with_api).run()

    return asyncio.run(run())


class Supervisor:
    """Everything that one host runs."""

    def __init__(
        self, settings: Settings, *, roles: Collection[str] = tuple(WAITING_LISTS), with_api: bool = True
    ) -> None:
        self.settings = settings
        self.roles = roles
        self.with_api = with_api
        self._server: EmbeddedServer | None = None
        self._keepers: list[Keeper] = []
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._planned_for = settings
        """With the limits that were changed at run time."""

    async def run(self) -> int:
        """Until SIGTERM, then drain; the exit code: 0, or 1 when something cannot start."""
        self._listen_to_signals()
        with only_one(self.settings.data_path / "run" / "supervisor.lock"):
            redis_url = self._start_server()
            await asyncio.to_thread(upgrade, self.settings.resolved_database_url)
            redis = connect_async(redis_url)
            records = Records(self.settings.resolved_database_url)
            queue = AsyncQueue.from_settings(redis, self.settings)
            events = AsyncEvents(redis, self.settings.redis_prefix)
            storage = open_storage(self.settings)
            experiments = ExperimentService(records, queue, events, storage)
            promises = Promises(self.settings, records, queue)
            try:
                await publish_bundled_voices(self.settings, records, storage)
                self._planned_for = await promises.settings_for_plan()
                keep = RetentionPolicy.from_settings(self.settings)
                datasets = Chore(
                    "mending data sets", RECONCILE_SECONDS, DatasetService(records, queue, storage).reconcile
                )
                chores = (*promises.chores(), datasets)
                return await self._serve(redis_url, Upkeep(queue, experiments, keep, chores))
            finally:
                await promises.close()
                await records.close()
                await redis.aclose()
                if self._server is not None:
                    self._server.stop()

    async def _serve(self, redis_url: str, upkeep: Upkeep) -> int:
        with suppress(QueueUnavailable):  # a Redis elsewhere may be away; the loops wait for it
            await upkeep.recover()
        self._keepers = [Keeper(spec, upkeep.bury) for spec in self._specs(redis_url)]
        keepers = [asyncio.create_task(keeper.run()) for keeper in self._keepers]
        loops = [
            asyncio.ensure_future(loop)
            for loop in (
                *upkeep.loops(),
                self._watch_server(),
                self._watch_ready(upkeep.queue),
                self._feed_watchdog(),
            )
        ]
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({stopping, *keepers, *loops}, return_when=asyncio.FIRST_COMPLETED)
        notify("STOPPING=1")
        failure = next((task.exception() for task in (*keepers, *loops) if task.done() and task.exception()), None)
        if failure is not None:
            logger.error("Stopping: %s", failure, exc_info=None if isinstance(failure, BootFailed) else failure)
        else:
            logger.info("Draining: no new jobs; work in progress ends or is handed back.")
        await self._drain()
        stopping.cancel()
        for loop in loops:
            loop.cancel()
        await asyncio.gather(stopping, *keepers, *loops, return_exceptions=True)
        logger.info("Stopped.")
        return 0 if failure is None else 1

    async def _drain(self) -> None:
        """Workers first; the API takes no new requests meanwhile and answers those it has."""
        api = [keeper for keeper in self._keepers if not keeper.spec.role]
        workers = [keeper for keeper in self._keepers if keeper.spec.role]
        ending_api: asyncio.Future[Any] = asyncio.gather(*(keeper.drain() for keeper in api))
        ending: asyncio.Future[Any] = asyncio.gather(*(keeper.drain() for keeper in workers))
        hurry: asyncio.Future[Any] = asyncio.ensure_future(self._hurry.wait())
        await asyncio.wait({ending, hurry}, return_when=asyncio.FIRST_COMPLETED)
        if self._hurry.is_set():
            logger.warning("Asked twice to stop: ending everything now.")
        else:
            await asyncio.wait({ending_api, hurry}, timeout=API_GRACE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for keeper in self._keepers:
            if keeper.child is not None and keeper.child.running:
                keeper.child.kill()
        hurry.cancel()
        await asyncio.gather(ending, ending_api)

    def _listen_to_signals(self) -> None:
        def hear() -> None:
            (self._hurry if self._stop.is_set() else self._stop).set()

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, hear)

    def _start_server(self) -> str:
        """The URL of the queue; starts the embedded server when the settings name none."""
        if self.settings.resolved_redis_url:
            return self.settings.resolved_redis_url
        self._server = EmbeddedServer(self.settings.data_path / "redis")
        # From this thread, which lives as long as the supervisor: the server dies with it.
        self._server.start()
        return self._server.url

    def _specs(self, redis_url: str) -> list[ChildSpec]:
        gpus = find_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"))
        placed = plan(
            gpus,
            self._planned_for,
            count_cores(),
            available_memory_mb(),
            self.roles,
        )
        logger.info("The plan for this host:\n%s", placed.table())
        workers = [worker_spec(placement, self.settings, redis_url, gpus) for placement in placed.placements]
        if not self.with_api:
            return workers
        self._api_file.unlink(missing_ok=True)
        return [api_spec(self.settings, redis_url), *workers]

    async def _watch_server(self) -> None:
        """Start the embedded server again when it dies; it finds everything that it acknowledged."""
        while self._server is not None:
            if self._server.process is not None and (code := self._server.process.poll()) is not None:
                logger.warning("Restarting the queue server after unexpected exit (%d).", code)
                self._server.start()
                logger.info("The queue server runs again.")
            await asyncio.sleep(SERVER_CHECK_SECONDS)
        await asyncio.Event().wait()

    async def _watch_ready(self, queue: AsyncQueue) -> None:
        """Note which children are at work; tell systemd and the log once each."""
        api_told = all_told = False
        while True:
            with suppress(QueueUnavailable):
                await self._note_ready(queue)
            api = [keeper for keeper in self._keepers if not keeper.spec.role]
            if not all_told and all(keeper.ready for keeper in self._keepers):
                all_told = True
                notify("READY=1", f"STATUS=All {len(self._keepers)} processes are ready.")
                logger.info("All %d processes are ready.", len(self._keepers))
            if not api_told and api and all(keeper.ready for keeper in api):
                api_told = True
                notify("READY=1", "STATUS=The API is ready.")
            await asyncio.sleep(READY_CHECK_SECONDS)

    async def _note_ready(self, queue: AsyncQueue) -> None:
        waiting = [keeper for keeper in self._keepers if not keeper.ready and keeper.child is not None]
        if not waiting:
            return
        registered = {worker.id for worker in await queue.workers()}
        api_pid = self._read_api_file().get("pid")
        for keeper in waiting:
            assert keeper.child is not None
            if keeper.spec.role:
                keeper.ready = keeper.worker_id in registered
            else:
                keeper.ready = api_pid == keeper.child.pid

    @property
    def _api_file(self) -> Path:
        return self.settings.data_path / "run" / "api.json"

    def _read_api_file(self) -> dict[str, object]:
        try:
            read: dict[str, object] = json.loads(self._api_file.read_bytes())
        except (OSError, ValueError):
            return {}
        return read

    async def _feed_watchdog(self) -> None:
        period = watchdog_seconds()
        if period is None:
            await asyncio.Event().wait()
            return
        while True:
            notify("WATCHDOG=1")
            await asyncio.sleep(period)
