"""The supervisor of a host: it starts what the plan places, keeps it running, and drains it without losing work."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from common.operating_system import handle_signal, host_name
from common.programs import same_command
from core.cancellation import cancel_and_wait
from core.datasets import DatasetService
from core.deployment import ineffective_settings, start_line
from core.env_file import notes_on_env_file
from core.errors import NotReady, QueueUnavailable
from core.experiments.model_versions import ModelVersions
from core.experiments.retention import RetentionPolicy
from core.experiments.service import ExperimentService
from core.exposure import check_exposure, has_recorded_key
from core.host_control import RESTART_SIGNAL, announced_pid, supervisor_lock
from core.jobs.events import Events
from core.jobs.placement_reports import PlacementProblem, PlacementReports
from core.jobs.queue import AsyncQueue
from core.jobs.queue_options import QueueOptions
from core.jobs.roles import PREPROCESSOR, WAITING_LISTS
from core.jobs.server_check import check_redis
from core.jobs.transport import AsyncTransport
from core.log_output import LOG_OUTPUT
from core.logs import configure_logs
from core.memory import available_memory_mb
from core.net.listening import reserve_port
from core.private_files import make_private
from core.records import Records, upgrade
from core.redis import connect_async
from core.redis_server import EmbeddedServer
from core.settings import Settings
from core.storage import open_storage
from supervisor.backups import BackupActions
from supervisor.child_monitor import BootFailed
from supervisor.child_specs import api_spec, metrics_folder, worker_spec
from supervisor.children import Children
from supervisor.device_watch import DeviceWatch
from supervisor.devices import count_cores, find_cuda_version, find_gpus
from supervisor.fencing import FencingActions
from supervisor.first_writes import prepare_records
from supervisor.gpu import Gpu
from supervisor.hardware_box import hardware_box
from supervisor.host_actions import HostActions
from supervisor.lock import exclusive_lock
from supervisor.maintenance import RECONCILE_SECONDS, Maintenance, PeriodicAction, records_retention
from supervisor.notify import notify, watchdog_seconds
from supervisor.parent import wait_for_end_of_parent
from supervisor.plan import Placement, plan, plan_change, select_roles

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

API_GRACE_SECONDS = 3.0
"""Time that the API gets for its last responses once no worker is left."""
SERVER_CHECK_SECONDS = 0.2
SERVER_RETRY_SECONDS = 2.0
"""Pause before an embedded server that did not start again is tried once more."""
READY_CHECK_SECONDS = 0.25
REPORT_SECONDS = 1.0
WAITING_CHECK_SECONDS = 30.0


def serve(settings: Settings, *, roles: str = "", with_api: bool = True) -> int:
    """Run this host until SIGTERM and return the exit code; SIGUSR1 starts it again after that.

    `roles` are names separated by commas; empty means all. Raises InvalidRequest for an unknown role.
    """
    selected = select_roles(roles)
    configure_logs(settings.log_format, settings.log_level, from_thread=True)
    for note in notes_on_env_file(Path(str(Settings.model_config["env_file"]))):
        logger.warning("%s", note)

    async def run() -> tuple[int, bool]:
        supervisor = Supervisor(settings, roles=selected, with_api=with_api)
        return await supervisor.run(), supervisor.restarting

    code, restarting = asyncio.run(run())
    if restarting and code == 0:
        logger.info("Starting again.")
        LOG_OUTPUT.finish()
        command = same_command()
        os.execv(command[0], command)  # noqa: S606  # this program, as it was called
    return code


class Supervisor:
    """All processes and periodic actions of one host."""

    def __init__(
        self, settings: Settings, *, roles: Collection[str] = tuple(WAITING_LISTS), with_api: bool = True
    ) -> None:
        self.settings = settings
        self.roles = roles
        self.with_api = with_api
        self._server: EmbeddedServer | None = None
        self._server_thread = ThreadPoolExecutor(1, "queue-server")
        """Starts and stops the server, which may take seconds; it lives as long as this process, and the server dies
        with it."""
        self._stop = asyncio.Event()
        self._kill_now = asyncio.Event()
        self.restarting = False
        """Whether the program is to start again once everything has ended."""
        self._planned_for = settings
        """The settings with the limits that were changed at run time."""
        self._memory_mb = available_memory_mb()
        """Free before anything of this host was started."""
        self._children: Children
        self._devices: DeviceWatch
        self._api_port: list[socket.socket] = []
        """Holds the port that several processes of the API share."""

    async def run(self) -> int:
        """Run until SIGTERM, then drain; return the exit code: 0, or 1 when something cannot start."""

        def on_signal() -> None:
            self.restarting = False
            (self._kill_now if self._stop.is_set() else self._stop).set()

        def on_restart() -> None:
            self.restarting = not self._stop.is_set()
            self._stop.set()

        handle_signal(RESTART_SIGNAL, on_restart)
        for number in (signal.SIGTERM, signal.SIGINT):
            handle_signal(number, on_signal)
        watching = asyncio.create_task(self._end_with_parent())
        try:
            return await self._run()
        finally:
            watching.cancel()

    async def _run(self) -> int:
        logger.info("%s", start_line(self.settings))
        for sentence in ineffective_settings(self.settings):
            logger.warning("%s", sentence)
        await asyncio.to_thread(make_private, self.settings.data_path)
        with exclusive_lock(supervisor_lock(self.settings.data_path)):
            await asyncio.to_thread(upgrade, self.settings.resolved_database_url)
            if self.with_api:
                check_exposure(self.settings, has_key=await has_recorded_key(self.settings))
            redis_url = await self._in_server_thread(self._start_server)
            redis = connect_async(redis_url)
            records = Records.from_settings(self.settings)
            queue = AsyncQueue(redis, QueueOptions.from_settings(self.settings))
            events = Events(queue)
            storage = open_storage(self.settings)
            versions = ModelVersions(self.settings.models_folder)
            experiments = ExperimentService(records, queue, events, storage, versions=versions)
            host_actions = HostActions(self.settings, records, queue)
            reports = PlacementReports(queue.transport, queue.prefix)
            try:
                fencing = FencingActions(self.settings)
                first_writes = await fencing.do_once(
                    "publishing bundled voices", partial(prepare_records, self.settings, records, storage)
                )
                self._planned_for = await host_actions.settings_for_plan()
                datasets = DatasetService(records, queue, storage)
                maintenance = Maintenance(
                    queue,
                    experiments,
                    RetentionPolicy.from_settings(self.settings),
                    (
                        *first_writes,
                        *host_actions.periodic_actions(),
                        *self._device_actions(redis_url),
                        PeriodicAction("reporting placements", REPORT_SECONDS, partial(self._report_problems, reports)),
                        *records_retention(self.settings, records),
                        *fencing.periodic_actions(),
                        *BackupActions(self.settings).periodic_actions(),
                        fencing.only_while_primary(
                            PeriodicAction("reconciling data sets", RECONCILE_SECONDS, datasets.reconcile)
                        ),
                        fencing.only_while_primary(
                            PeriodicAction(
                                "ending what waits too long",
                                WAITING_CHECK_SECONDS,
                                partial(experiments.waiting_limit.enforce, self.settings.max_waiting_seconds),
                            )
                        ),
                    ),
                    fencing.only_while_primary,
                )
                return await self._serve(redis_url, maintenance)
            finally:
                await host_actions.close()
                await records.close()
                await redis.aclose()
                for held in self._api_port:
                    held.close()
                if self._server is not None:
                    await self._in_server_thread(self._server.stop)

    async def _end_with_parent(self) -> None:
        """Stop when whoever started this process is gone, where the settings say so."""
        if self.settings.exit_with_parent:
            reason = await wait_for_end_of_parent()
            logger.info("Stopping: %s.", reason)
            self._stop.set()

    async def _serve(self, redis_url: str, maintenance: Maintenance) -> int:
        with suppress(QueueUnavailable):  # a Redis elsewhere may be away; the loops wait for it
            await maintenance.recover()
        self._children = Children(maintenance.requeue_jobs_of)
        self._start_children(redis_url)
        loops = [
            asyncio.ensure_future(loop)
            for loop in (
                self._children.watch(),
                *maintenance.loops(),
                self._watch_server(),
                self._watch_ready(maintenance.queue),
                self._feed_watchdog(),
            )
        ]
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({stopping, *loops}, return_when=asyncio.FIRST_COMPLETED)
        if not self.restarting:  # it remains the same process to systemd
            notify("STOPPING=1")
        failure = next((task.exception() for task in loops if task.done() and task.exception()), None)
        if failure is not None:
            logger.error("Stopping: %s", failure, exc_info=None if isinstance(failure, BootFailed) else failure)
        else:
            logger.info("Draining: no new jobs; work in progress ends or is handed back.")
        await self._drain()
        await cancel_and_wait(stopping, *loops)
        await self._children.join()
        await asyncio.gather(stopping, *loops, return_exceptions=True)
        logger.info("Stopped.")
        return 0 if failure is None else 1

    async def _drain(self) -> None:
        """End the workers, then the API, which rejects new work meanwhile and responds to the requests it has."""
        api, workers = self._children.select(workers=False), self._children.select(workers=True)
        for monitor in api:
            if monitor.ready and monitor.child is not None:
                monitor.child.announce_end()
        ending: asyncio.Future[Any] = asyncio.gather(*(monitor.drain() for monitor in workers))
        kill_now: asyncio.Future[Any] = asyncio.ensure_future(self._kill_now.wait())
        await asyncio.wait({ending, kill_now}, return_when=asyncio.FIRST_COMPLETED)
        if self._kill_now.is_set():
            logger.warning("Asked twice to stop: ending everything now.")
        ending_api: asyncio.Future[Any] = asyncio.gather(*(monitor.drain() for monitor in api))
        if not self._kill_now.is_set():
            await asyncio.wait({ending_api, kill_now}, timeout=API_GRACE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        self._children.kill()
        kill_now.cancel()
        await asyncio.gather(ending, ending_api)

    async def _in_server_thread(self, action: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._server_thread, action)

    def _start_server(self) -> str:
        """Return the URL of Redis; start the embedded server when the settings name none."""
        if url := self.settings.resolved_redis_url:
            check_redis(url, self.settings.key_prefix)
            return url
        self._server = EmbeddedServer(self.settings.data_path / "redis", self.settings.redis_memory_mb)
        self._server.start()
        return self._server.url

    def _start_children(self, redis_url: str) -> None:
        """Start the API and what the plan places on the devices that are there now."""
        gpus = self._read_gpus()
        for line in hardware_box(gpus, find_cuda_version(), self.settings):
            logger.info("%s", line)
        self._devices = DeviceWatch(self._read_gpus, gpus)
        if self.with_api:
            self._start_api(redis_url)
        for placement in self._plan():
            self._children.start(worker_spec(placement, self.settings, redis_url, gpus), placement)

    def _start_api(self, redis_url: str) -> None:
        """Start the processes of the API; several share a port, which is held for them here."""
        settings = self.settings
        for file in (settings.data_path / "run").glob("api*.json"):
            file.unlink(missing_ok=True)
        if settings.api_workers > 1:
            self._api_port = reserve_port(settings.host, settings.port)
            settings = settings.model_copy(update={"port": self._api_port[0].getsockname()[1]})
            shutil.rmtree(metrics_folder(settings.data_path), ignore_errors=True)
            metrics_folder(settings.data_path).mkdir(parents=True)
        for index in range(settings.api_workers):
            self._children.start(api_spec(settings, redis_url, index))

    def _plan(self) -> tuple[Placement, ...]:
        """Plan for the present devices, and log it."""
        gpus, memory_mb = self._devices.gpus, self._memory_mb
        placed = plan(gpus, self._planned_for, count_cores(), memory_mb, self.roles)
        logger.info("The plan for this host:")
        for row in placed.table().splitlines():
            logger.info("%s", row)
        return placed.placements

    async def _follow_devices(self, redis_url: str) -> None:
        """Plan anew when GPUs were lost or have come: end and start what differs; the other processes go on."""
        if not await self._devices.changed():
            return
        for verb, gpus in (("is gone", self._devices.lost), ("is there now", self._devices.added)):
            for gpu in gpus:
                logger.warning("GPU %s (%s, %s) %s.", gpu.label, gpu.name, gpu.uuid, verb)
        # A preprocessor spreads its files over all GPUs that it was told of.
        outdated = (PREPROCESSOR,) if self._devices.lost else ()
        change = plan_change(tuple(self._children.placements.values()), self._plan(), outdated)
        gpus = self._devices.gpus
        self._children.apply(change, lambda placement: worker_spec(placement, self.settings, redis_url, gpus))

    def _device_actions(self, redis_url: str) -> tuple[PeriodicAction, ...]:
        seconds = self.settings.device_check_seconds
        follow = partial(self._follow_devices, redis_url)
        return (PeriodicAction("following the devices", seconds, follow),) if seconds else ()

    @staticmethod
    def _read_gpus() -> tuple[Gpu, ...]:
        return find_gpus(os.environ.get("CUDA_VISIBLE_DEVICES"))

    async def _watch_server(self) -> None:
        """Restart the embedded server when it exits, as often as it takes; it has kept what it acknowledged."""
        while (server := self._server) is not None:
            ended = "at its start" if server.process is None else server.process.poll()
            if ended is not None:
                logger.warning("Restarting the queue server after unexpected exit (%s).", ended)
                try:
                    await self._in_server_thread(server.start)
                except NotReady as error:
                    logger.error("%s It is tried again in %g s.", error.sentences, SERVER_RETRY_SECONDS)
                    await asyncio.sleep(SERVER_RETRY_SECONDS)
                    continue
                logger.info("The queue server runs again.")
            await asyncio.sleep(SERVER_CHECK_SECONDS)
        await asyncio.Event().wait()

    async def _watch_ready(self, queue: AsyncQueue) -> None:
        """Follow which children are at work; report readiness once to systemd and the log."""
        api_reported = all_reported = False
        while True:
            with suppress(QueueUnavailable):
                await self._note_ready(queue)
            api = [monitor for monitor in self._children.monitors if not monitor.spec.role]
            disabled = [monitor for monitor in self._children.monitors if monitor.disabled]
            if len(disabled) == len(self._children.monitors):
                raise BootFailed("Nothing that this host should run can start.")
            if not all_reported and all(monitor.ready or monitor.disabled for monitor in self._children.monitors):
                all_reported = True
                number = len(self._children.monitors) - len(disabled)
                without = f", without {', '.join(monitor.spec.name for monitor in disabled)}" if disabled else ""
                notify("READY=1", f"STATUS=All {number} processes are ready{without}.")
                logger.info("All %d processes are ready%s.", number, without)
            if not api_reported and api and all(monitor.ready for monitor in api):
                api_reported = True
                notify("READY=1", "STATUS=The API is ready.")
            await asyncio.sleep(READY_CHECK_SECONDS)

    async def _note_ready(self, queue: AsyncQueue) -> None:
        waiting = [monitor for monitor in self._children.monitors if not monitor.ready and monitor.child is not None]
        if not waiting:
            return
        registered = {worker.id for worker in await queue.workers()}
        for monitor in waiting:
            assert monitor.child is not None
            if monitor.spec.announcement is None:
                at_work = monitor.worker_id in registered
            else:
                at_work = announced_pid(monitor.spec.announcement) == monitor.child.pid
            if at_work and monitor.child.running:
                monitor.note_ready()

    async def _report_problems(self, reports: PlacementReports[AsyncTransport]) -> None:
        """Publish which workers of this host do not work, for the API and `main.py doctor`."""
        host = host_name()
        problems = [
            PlacementProblem(host, monitor.spec.name, monitor.spec.role, monitor.fault, monitor.disabled)
            for monitor in self._children.monitors
            if monitor.spec.role and monitor.fault
        ]
        await reports.report(host, problems)

    async def _feed_watchdog(self) -> None:
        period = watchdog_seconds()
        if period is None:
            await asyncio.Event().wait()
            return
        while True:
            notify("WATCHDOG=1")
            await asyncio.sleep(period)
