"""The process of the API: it serves until it is asked to end, and announces its address in a file."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

import orjson
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.dependencies import ApiServices
from api.http.access import declared_routes
from api.http.connections import QuietAcceptErrors, connection_limits, limited_protocol
from api.http.metrics import forget_ended_processes
from common.files import write_atomically
from common.hosts import bracketed, http_url
from common.operating_system import USER_SIGNAL, raise_file_limit
from core.host_control import announcement_file
from core.jobs.server_check import find_usable_redis
from core.net.listening import announce_on_stdout, listening_sockets
from core.settings import Settings

logger = logging.getLogger(__name__)

GRACE_SECONDS: Final = 5.0
"""After the time for speech in progress: for the last bytes of responses under way and for closing connections."""


def serve(settings: Settings, index: int = 0) -> None:
    """Serve requests until SIGTERM or SIGINT, then let speech in progress finish.

    `index`: of this process among API_WORKERS that share the port; the first one announces it, and serves Wyoming.
    """
    if index:
        settings = settings.model_copy(update={"wyoming_port": 0})
    forget_ended_processes()
    app = create_app(settings, find_usable_redis(settings))
    share = -(-settings.max_connections // settings.api_workers)
    connections, backlog = connection_limits(share, raise_file_limit())
    config = uvicorn.Config(
        app,
        http=limited_protocol(connections),
        backlog=backlog,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        proxy_headers=False,  # api/http/request_context.py trusts TRUSTED_PROXIES only
        server_header=False,
        timeout_keep_alive=65,  # longer than a balancer's 60 s, so that it never meets a closing connection
        timeout_graceful_shutdown=round(GRACE_SECONDS),
    )
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
    sockets = listening_sockets(settings.host, settings.port, shared=settings.api_workers > 1)
    declared_routes(app)  # builds what the first request would have to wait for
    # What is loaded by now stays: left out, it does not make every full collection take a tenth of a second.
    gc.collect()
    gc.freeze()
    AnnouncingServer(config, app, announcement_file(settings.data_path, index), first=not index).run(sockets)


class AnnouncingServer(uvicorn.Server):
    """A server that writes `{"url", "pid"}` to a file while it listens, and its address to standard output."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, announcement: Path, *, first: bool = True) -> None:
        super().__init__(config)
        self.first = first
        self.app = app
        self.announcement = announcement
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals: the user's begins a drain, SIGTERM and SIGINT end the process after one."""
        with contextlib.ExitStack() as stack:
            if USER_SIGNAL is not None:
                previous = signal.signal(USER_SIGNAL, lambda *_: self.drain())
                stack.callback(signal.signal, USER_SIGNAL, previous)
            stack.enter_context(super().capture_signals())
            yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening and write the announcement."""
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(QuietAcceptErrors())
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            announcement = {"url": http_url(host, port), "pid": os.getpid()}
            write_atomically(self.announcement, orjson.dumps(announcement))
            if self.first:
                logger.info("The API listens on http://%s:%d.", bracketed(host), port)
                announce_on_stdout(http_url(host, port))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Remove the announcement, unless another process has written its own since, and stop listening."""
        try:
            if orjson.loads(self.announcement.read_bytes())["pid"] == os.getpid():
                self.announcement.unlink()
        except FileNotFoundError:
            logger.debug("There is no announcement to remove.")
        await super().shutdown(sockets)
        logger.info("The API has ended.")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop serving once speech that somebody hears has ended; at a second signal at once.

        The port stays open until then. The signal is not raised again afterwards, since a requested end is no failure.
        """
        if self._ending is not None and sig == signal.SIGINT:
            self.force_exit = True
        if self._loop is None or not self.started or self._ending is not None:
            self.should_exit = True
        else:
            self._loop.call_soon_threadsafe(self._end_soon)

    def drain(self) -> None:
        """Begin nothing new from now on."""
        if self._loop is not None and self.started:
            self._loop.call_soon_threadsafe(self.app.state.services.speech.drain)

    def _end_soon(self) -> None:
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())

    async def _end(self) -> None:
        services: ApiServices = self.app.state.services
        services.speech.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(services.settings.drain_speech_seconds):
                await services.speech.wait_until_idle()
        # Event streams without an end would keep their connections open.
        services.sse.stopping.set()
        self.should_exit = True
