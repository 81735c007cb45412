"""An API that is killed while it creates something: no file without a record stays, and nothing is created twice."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from daemon_stage import Daemon, Stage, until
from process_children import children_of
from process_end import wait_for_end
from sqlalchemy.engine import make_url

from core.settings import REPOSITORY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="daemons tie their children with prctl"),
]
RECORDING = REPOSITORY / "prompts" / "allison" / "prompt.wav"
HEADERS = {"Idempotency-Key": "the-key"}


class KilledApi(Daemon):
    """A daemon whose API is killed and started again."""

    def client(self) -> httpx.Client:
        """Return a client of the API, once that answers."""
        announcement = self.folder / "run" / "api.json"

        def url() -> str:
            try:
                url = str(orjson.loads(announcement.read_bytes())["url"])
                return url if httpx.get(f"{url}/healthz").is_success else ""
            except (FileNotFoundError, httpx.TransportError):
                return ""

        return httpx.Client(base_url=until(url, what="the API"), timeout=60)

    @property
    def redis(self) -> Any:
        return self.queue.transport.client

    @property
    def stored_files(self) -> list[Path]:
        return list((self.folder / "storage" / "files").glob("*"))

    def kill_api(self) -> None:
        pid = next(pid for pid, command in children_of(self.pid).items() if "main.py api" in command)
        os.kill(pid, signal.SIGKILL)
        assert wait_for_end(pid, 10)

    def free_keys(self) -> None:
        """Let the claims of the killed API expire, which they do by themselves after half a minute."""
        for key in self.redis.keys("sovits:request:*"):
            self.redis.hset(key, "until", 0)

    @contextmanager
    def locked_records(self) -> Iterator[None]:
        """Let nobody write records inside the block."""
        path = make_url(self.settings.resolved_database_url).database
        assert path is not None
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KilledApi]:
    stage = Stage()
    daemon = KilledApi(tmp_path_factory.mktemp("killed-api"), stage)
    daemon.start("--roles", "splitter")
    yield daemon
    daemon.close()
    stage.close()


def upload(client: httpx.Client) -> httpx.Response:
    return client.post("/api/v1/files", files={"file": ("a.wav", RECORDING.read_bytes())}, headers=HEADERS)


def register_webhook(client: httpx.Client) -> httpx.Response:
    return client.post("/api/v1/webhooks", json={"url": "https://8.8.8.8/ended"}, headers=HEADERS)


def test_a_file_whose_api_is_killed_before_it_is_recorded_does_not_stay(daemon: KilledApi) -> None:
    with daemon.client() as client, ThreadPoolExecutor(1) as sender:
        with daemon.locked_records():
            sending = sender.submit(upload, client)
            [orphan] = until(lambda: daemon.stored_files, what="the bytes of the upload")
            daemon.kill_api()
        with pytest.raises(httpx.TransportError):
            sending.result(60)

    until(lambda: not orphan.exists(), what="the deletion of bytes without a record")
    daemon.free_keys()
    with daemon.client() as client:
        record = upload(client).json()
        assert client.get("/api/v1/files").json()["total"] == 1
        assert [path.name for path in daemon.stored_files] == [record["id"]]
        assert client.get(f"/api/v1/files/{record['id']}").content == RECORDING.read_bytes()
        assert client.delete(f"/api/v1/files/{record['id']}").is_success
    for key in daemon.redis.keys("sovits:request:*"):
        daemon.redis.delete(key)


@pytest.mark.parametrize(("send", "path"), [(upload, "/api/v1/files"), (register_webhook, "/api/v1/webhooks")])
def test_an_api_killed_between_creating_and_remembering_creates_nothing_twice(
    daemon: KilledApi, send: Callable[[httpx.Client], httpx.Response], path: str
) -> None:
    with daemon.client() as client, ThreadPoolExecutor(1) as sender:
        with daemon.locked_records():
            sending = sender.submit(send, client)
            until(lambda: daemon.redis.keys("sovits:request:*"), what="the claim of the key")
            daemon.redis.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
        with daemon.client() as other:
            until(lambda: other.get(path).json()["total"], what="the record")
        daemon.kill_api()
        daemon.redis.execute_command("CLIENT", "UNPAUSE")
        with pytest.raises(httpx.TransportError):
            sending.result(60)

    daemon.free_keys()
    with daemon.client() as client:
        [created] = client.get(path).json()["items"]
        again, once_more = send(client), send(client)
        assert again.json()["id"] == created["id"]
        assert (once_more.json(), "idempotent-replayed" in once_more.headers) == (again.json(), True)
        assert client.get(path).json()["total"] == 1
    for key in daemon.redis.keys("sovits:request:*"):
        daemon.redis.delete(key)
