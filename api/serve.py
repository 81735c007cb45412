"""Runs the API until it is asked to end, and tells where it listens."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
from pathlib import Path
from types import FrameType
from typing import Final

import orjson
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from core.redis_server import find_redis_url
from core.settings import Settings

logger = logging.getLogger(__name__)

GRACE_SECONDS: Final = 5.0
"""Beside the time that speech is given: for answers under way and for closing connections."""


def serve(settings: Settings) -> None:
    """Answer requests until SIGTERM or SIGINT, then let speech in progress finish."""
    app = create_app(settings, find_redis_url(settings))
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=65,  # longer than a balancer's 60 s, so that it never meets a closing connection
        timeout_graceful_shutdown=round(settings.drain_speech_seconds + GRACE_SECONDS),
    )
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
    Announcing(config, app, settings.data_path / "run" / "api.json").run()


class Announcing(uvicorn.Server):
    """A server that writes `{"url", "pid"}` to a file while it listens."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, announcement: Path) -> None:
        super().__init__(config)
        self.app = app
        self.announcement = announcement
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        # What is loaded now stays: without it, a full collection takes a few milliseconds, not a tenth of a second.
        gc.collect()
        gc.freeze()
        if self.started:
            self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._withdraw()
        await super().shutdown(sockets)
        logger.info("The API has ended.")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ending because someone asked is no failure, so the signal is not raised again afterwards."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True
        if self._loop is not None and self.started:
            # Streams without an end would keep their connections open.
            self._loop.call_soon_threadsafe(self.app.state.services.watchers.stopping.set)

    def _announce(self) -> None:
        url = _url(self.servers[0].sockets[0].getsockname())
        self.announcement.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.announcement.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(orjson.dumps({"url": url, "pid": os.getpid()}))
        os.replace(temporary, self.announcement)
        logger.info("The API listens on %s.", url)

    def _withdraw(self) -> None:
        """Remove the file unless another process has written its own since."""
        try:
            if orjson.loads(self.announcement.read_bytes())["pid"] == os.getpid():
                self.announcement.unlink()
        except FileNotFoundError:
            return


def _url(address: tuple[str | int, ...]) -> str:
    """Where a client on this host reaches the socket."""
    host, port = str(address[0]), address[1]
    if host in ("0.0.0.0", "::"):  # noqa: S104  # compared, not bound
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
