"""A real server, a queue on it, and ways to bend time and to lose answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest
import redis

from core.jobs.job import Lease
from core.jobs.queue import Queue
from core.jobs.queue_options import QueueOptions
from core.redis import connect
from core.redis_server import EmbeddedServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tmp_path_factory.mktemp("core-redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[redis.Redis]:
    """On an empty server."""
    client = connect(server.url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def queue(client: redis.Redis) -> Queue:
    return Queue(client, QueueOptions(retry_attempts=2))


class Clock:
    """The server's clock cannot be set, so what lies in the future or the past is moved instead."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def advance(self, seconds: float) -> None:
        """Let time pass; the reaper ran meanwhile and found nothing."""
        for key in ("sovits:leases", "sovits:delayed", "sovits:workers"):
            for member, score in cast(list[tuple[str, float]], self._client.zrange(key, 0, -1, withscores=True)):
                self._client.zadd(key, {member: score - seconds})
        for pair, since in self._client.hgetall("sovits:unclaimed").items():
            self._client.hset("sovits:unclaimed", pair, float(since) - seconds)
        for job in self._client.scan_iter("sovits:job:*"):
            times = (self._client.hget(job, "rescued_at") or "").split()
            if times:
                self._client.hset(job, "rescued_at", " ".join(str(float(time) - seconds) for time in times))

    def advance_in_an_outage(self, seconds: float) -> None:
        """Let time pass in which nobody could reach the server."""
        self.advance(seconds)
        if last := self._client.get("sovits:reaped_at"):
            self._client.set("sovits:reaped_at", float(last) - seconds)


@pytest.fixture
def clock(client: redis.Redis) -> Clock:
    return Clock(client)


class Wire:
    """A connection to the server that can lose an answer: the request arrives, the reply does not."""

    def __init__(self, url: str) -> None:
        self._port = redis.connection.parse_url(url)["port"]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]
        self._threads: list[threading.Thread] = []
        self._doomed = b""
        self._losing = threading.Event()
        self.lost = 0
        self.url = url.replace(f":{self._port}/", f":{self._listener.getsockname()[1]}/")
        self._start(self._listen)

    def lose_reply_to(self, command: bytes) -> None:
        """Once, to the next request that holds these bytes."""
        self._doomed = command

    def close(self) -> None:
        for connection in self._sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads:
            thread.join()

    def _start(self, target: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._port))
            self._sockets += (near, far)
            self._start(self._carry, near, far)
            self._start(self._carry_back, far, near)

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while data := near.recv(65536):
                if self._doomed and self._doomed in data:
                    self._doomed = b""
                    self._losing.set()
                far.sendall(data)
            far.shutdown(socket.SHUT_RDWR)

    def _carry_back(self, far: socket.socket, near: socket.socket) -> None:
        with suppress(OSError):
            while data := far.recv(65536):
                if self._losing.is_set():
                    self._losing.clear()
                    self.lost += 1
                    break
                near.sendall(data)
            near.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def wire(server: EmbeddedServer) -> Iterator[Wire]:
    wire = Wire(server.url)
    yield wire
    wire.close()


@pytest.fixture
def distant_queue(client: redis.Redis, wire: Wire) -> Iterator[Queue]:
    """Yield the same queue, seen over the wire."""
    distant = connect(wire.url)
    queue = Queue(distant, QueueOptions(retry_attempts=2))
    queue.job("nobody")  # connects
    yield queue
    distant.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """One that a test may kill."""
    server = EmbeddedServer(tmp_path / "redis")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def take(queue: Queue) -> Callable[..., Lease]:
    """Claims a job that must be there."""

    def claim(worker_id: str = "worker-1", role: str = "synthesizer") -> Lease:
        lease = queue.claim(role, worker_id)
        assert lease is not None
        return lease

    return claim
