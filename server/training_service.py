"""The whole service as one ASGI application, for gunicorn or uvicorn: `server.training_service:app`.

    gunicorn -w 4 -k uvicorn.workers.UvicornWorker --bind 127.0.0.1:8000 --timeout 7200 server.training_service:app

The queue and the workers belong to a supervisor without an API, which one of the processes starts and watches: the one
that holds the lock. When that process ends, another takes over. Where a daemon runs on the same data folder already,
its supervisor stays in charge.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator
from typing import Final

from fastapi import FastAPI
from filelock import FileLock, Timeout
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.app import create_app
from api.dependencies import ApiServices
from api.http.errors import error_response
from common.programs import product_command
from core.cancellation import cancel_and_wait
from core.errors import Forbidden, NotReady, SovitsError
from core.exposure import is_loopback
from core.jobs.server_check import find_usable_redis
from core.logs import configure_logs
from core.private_files import make_private, use_private_umask
from core.process import bound_command
from core.records import upgrade
from core.settings import Settings, settings

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.5
START_SECONDS: Final = 60.0
"""How long a process waits for the queue at its start."""


class ReachableWithoutKey:
    """Answers 403 to requests that came to an address beyond this host while no key exists: nobody chose that."""

    def __init__(self, app: ASGIApp, current: Settings) -> None:
        self.app = app
        self.settings = current

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        server = (scope.get("server") or ("",))[0]
        if scope["type"] not in ("http", "websocket") or not server or is_loopback(server) or await self._chosen(scope):
            await self.app(scope, receive, send)
            return
        error = Forbidden(
            "This server can be reached from other machines, and no API key exists, so it answers nobody.",
            hint="Set VALID_API_KEYS, or ALLOW_OPEN_ACCESS=true to let everybody in, and start it again.",
        )
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        await error_response(Request(scope), error)(scope, receive, send)

    async def _chosen(self, scope: Scope) -> bool:
        services: ApiServices = scope["app"].state.services
        return self.settings.allow_open_access or await services.keys.required()


async def keep_supervisor(current: Settings) -> None:
    """Run a supervisor without an API as long as no other process does; end it when this task is cancelled."""
    lock = FileLock(str(current.data_path / "run" / "standalone.lock"), timeout=0, thread_local=False)
    while True:
        try:
            lock.acquire()
        except Timeout:  # another process has it
            await asyncio.sleep(LOOK_SECONDS)
            continue
        try:
            await _run_supervisor()
        finally:
            lock.release()
        await asyncio.sleep(START_SECONDS / 10)  # a daemon runs here, or it cannot start; its log says which


async def _run_supervisor() -> None:
    command = bound_command(product_command("serve", "--without-api"))
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, start_new_session=True)
    try:
        await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()  # it drains
            await asyncio.shield(process.wait())


async def wait_for_queue(current: Settings) -> str:
    """Return the URL of the queue once there is one; raise NotReady after a minute."""
    deadline = asyncio.get_running_loop().time() + START_SECONDS
    while True:
        try:
            return await asyncio.to_thread(find_usable_redis, current)
        except NotReady:
            if asyncio.get_running_loop().time() > deadline:
                raise
        await asyncio.sleep(LOOK_SECONDS)


def create_service() -> FastAPI:
    """Return the application with everything that it needs."""
    use_private_umask()
    current = settings()
    configure_logs(current.log_format, current.log_level)
    application = create_app(current)
    open_api = application.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        (current.data_path / "run").mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(make_private, current.data_path)
        await asyncio.to_thread(upgrade, current.resolved_database_url)
        supervisor = asyncio.create_task(keep_supervisor(current))
        try:
            await wait_for_queue(current)
            async with open_api(app):
                yield
        finally:
            await cancel_and_wait(supervisor)

    application.router.lifespan_context = lifespan
    application.add_middleware(ReachableWithoutKey, current=current)
    return application


try:
    app = create_service()
except SovitsError as error:  # a setting that cannot be used
    sys.exit(error.sentences)
