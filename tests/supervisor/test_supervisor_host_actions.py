"""Webhooks are sent, limits hold and hosts are listed, also after kill -9."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from daemon_stage import Daemon, until
from placeholder_weights import install_version
from sqlalchemy import update

from core.records import DeliveryRecord, DeliveryStatus, Records, upgrade
from core.records.outbox import EventSubject, add_event
from core.records.tables import webhook_deliveries
from core.settings import read_settings
from supervisor import host_actions
from supervisor.gpu import Gpu
from supervisor.host_actions import HostActions, describe_host

Result = TypeVar("Result")


@dataclass
class Receiver:
    """Keeps what it is told, and answers as the test says; 0 hangs."""

    statuses: list[int]
    ids: list[str] = field(default_factory=list)
    port: int = 0
    _news: threading.Condition = field(default_factory=threading.Condition)
    _closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def told(self, message_id: str) -> int:
        with self._news:
            self.ids.append(message_id)
            self._news.notify_all()
            status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status == 0:
            self._closing.wait(60)
        return status or 500

    def wait_for(self, count: int) -> None:
        with self._news:
            assert self._news.wait_for(lambda: len(self.ids) >= count, timeout=20), f"{len(self.ids)} of {count} came"

    def close(self) -> None:
        self._closing.set()


@contextmanager
def receiving(*statuses: int) -> Iterator[Receiver]:
    receiver = Receiver(list(statuses))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            status = receiver.told(self.headers["webhook-id"])
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.port = server.server_port
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield receiver
    finally:
        receiver.close()
        server.shutdown()
        serving.join()
        server.server_close()


def with_records(url: str, action: Callable[[Records], Coroutine[Any, Any, Result]]) -> Result:
    """Do something with the daemon's records."""

    async def go() -> Result:
        records = Records(url)
        try:
            return await action(records)
        finally:
            await records.close()

    return asyncio.run(go())


def announce(url: str, receiver: Receiver) -> None:
    """Record an event that the receiver is to be told of."""

    async def write(records: Records) -> None:
        async with records.database.write() as connection:
            await add_event(connection, "task.completed", EventSubject("task-1"), {"n": 1}, time.time(), [receiver.url])

    with_records(url, write)


def the_delivery(url: str) -> DeliveryRecord:
    (delivery,) = with_records(url, lambda records: records.deliveries.page()).items
    return delivery


def make_due(url: str) -> None:
    """Let the pause pass, and the claim of whoever died."""

    async def go(records: Records) -> None:
        async with records.database.write() as connection:
            await connection.execute(update(webhook_deliveries).values(next_try_at=1.0, claimed_until=0.0))

    with_records(url, go)


@pytest.fixture
def database(daemon: Daemon) -> str:
    """Return the URL of its records, which are there before it starts."""
    url = daemon.settings.resolved_database_url
    upgrade(url)
    return url


@pytest.mark.slow
def test_a_webhook_outlives_the_kill_of_its_sender_between_two_tries(daemon: Daemon, database: str):
    with receiving(500, 200) as receiver:
        announce(database, receiver)
        daemon.start(WEBHOOK_ALLOWED_HOSTS="127.0.0.1")
        receiver.wait_for(1)
        until(lambda: the_delivery(database).attempts == 1)

        daemon.kill()
        make_due(database)
        daemon.start(WEBHOOK_ALLOWED_HOSTS="127.0.0.1")

        receiver.wait_for(2)
        until(lambda: the_delivery(database).status is DeliveryStatus.DELIVERED)

    assert len(set(receiver.ids)) == 1
    assert the_delivery(database).attempts == 2


@pytest.mark.slow
def test_a_webhook_outlives_the_kill_of_its_sender_in_the_middle_of_a_try(daemon: Daemon, database: str):
    with receiving(0, 200) as receiver:
        announce(database, receiver)
        daemon.start(WEBHOOK_ALLOWED_HOSTS="127.0.0.1")
        receiver.wait_for(1)

        daemon.kill()
        make_due(database)
        daemon.start(WEBHOOK_ALLOWED_HOSTS="127.0.0.1")

        until(lambda: the_delivery(database).status is DeliveryStatus.DELIVERED)

    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1


async def test_a_host_starts_as_many_trainers_as_someone_allowed(database: str):
    settings = read_settings(database_url=database, max_training_concurrent_gpu=1, max_training_concurrent_cpu=2)
    records = Records(database)
    await records.limits.update({"cuda:1": {"training": 3}, "cpu": {"training": 0}, "cuda": {"inference": 9}})
    nobody: Any = SimpleNamespace(key=str, transport=SimpleNamespace(client=SimpleNamespace(execute_command=None)))

    planned = await HostActions(settings, records, nobody).settings_for_plan()
    await records.close()

    assert (planned.max_training_concurrent_gpu, planned.max_training_concurrent_cpu) == (3, 2)


def test_a_host_tells_of_its_gpus_and_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    visible_devices: list[str | None] = []

    def fake(visible: str | None) -> tuple[Gpu, ...]:
        visible_devices.append(visible)
        return (Gpu(2, "GPU-cc", "Test", 24_000, 23_000),)

    monkeypatch.setattr(host_actions, "find_gpus", fake)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")

    install_version(tmp_path, "v1", without=("roberta",))

    host = describe_host(tmp_path)

    assert visible_devices == ["2"]
    assert host.host == os.uname().nodename
    assert host.cores >= 1
    assert host.weights == ["discriminator v1", "gpt v1", "hubert", "sovits v1"]
    assert [(gpu.device, gpu.uuid, gpu.free_mb) for gpu in host.gpus] == [("cuda:2", "GPU-cc", 23_000)]
