"""An API process that is killed, doubled or abused: nothing is lost, created twice or read into memory."""

from __future__ import annotations

import io
import os
import signal
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from daemon_stage import Daemon, Stage, until
from job_waiting import wait_for_job
from process_children import children_of
from process_end import wait_for_end
from sqlalchemy.engine import make_url

from core.jobs.job import JobStatus, NewJob
from core.redis_server import read_embedded_url
from core.settings import REPOSITORY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="daemons tie their children with prctl"),
]
RECORDING = REPOSITORY / "prompts" / "allison" / "prompt.wav"
HEADERS = {"Idempotency-Key": "the-key"}
MAX_UPLOAD_MB = 8
PIECE = bytes(1 << 20)
ENDLESS_PIECES = 256
MAX_GROWTH_MIB = 64
"""What a process may take for such requests, whatever they send: its usual buffers, and what it loads for them."""


class ApiDaemon(Daemon):
    """A daemon with an API and a toy splitter."""

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

    @property
    def api_pid(self) -> int:
        return next(pid for pid, command in children_of(self.pid).items() if "main.py api" in command)

    def kill_api(self) -> None:
        pid = self.api_pid
        os.kill(pid, signal.SIGKILL)
        assert wait_for_end(pid, 10)

    @contextmanager
    def second_api(self) -> Iterator[str]:
        """Yield the URL of one more API process, as another host has one."""
        announcement = self.folder / "run" / "api.json"
        before = announcement.read_bytes()
        environment = self.environment | {"REDIS_URL": read_embedded_url(self.folder / "redis")}
        process = subprocess.Popen([sys.executable, str(REPOSITORY / "main.py"), "api"], env=environment)
        try:
            until(lambda: announcement.exists() and announcement.read_bytes() != before, what="the second API")
            yield str(orjson.loads(announcement.read_bytes())["url"])
        finally:
            process.terminate()
            process.wait(60)
            announcement.write_bytes(before)

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
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, stage: Stage) -> Iterator[ApiDaemon]:
    daemon = ApiDaemon(tmp_path_factory.mktemp("faults-api"), stage)
    daemon.start("--roles", "splitter", WORKER_RETRY_ATTEMPTS="1", MAX_UPLOAD_MB=str(MAX_UPLOAD_MB))
    yield daemon
    daemon.close()


def upload(client: httpx.Client) -> httpx.Response:
    return client.post("/api/v1/files", files={"file": ("a.wav", RECORDING.read_bytes())}, headers=HEADERS)


def register_webhook(client: httpx.Client) -> httpx.Response:
    return client.post("/api/v1/webhooks", json={"url": "https://8.8.8.8/ended"}, headers=HEADERS)


def test_a_file_whose_api_is_killed_before_it_is_recorded_does_not_stay(daemon: ApiDaemon) -> None:
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
    daemon: ApiDaemon, send: Callable[[httpx.Client], httpx.Response], path: str
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


def test_two_api_processes_that_get_the_same_keyed_request_make_one_job(daemon: ApiDaemon) -> None:
    body = {"items": [{"text": "Hello.", "voice": "allison"}]}
    path = "/api/v1/inference/batch"
    with daemon.client() as client, daemon.second_api() as url, httpx.Client(base_url=url, timeout=60) as second:
        with ThreadPoolExecutor(8) as senders:
            clients = [client, second] * 8
            responses = list(senders.map(lambda sender: sender.post(path, json=body, headers=HEADERS), clients))

        assert all(response.is_success for response in responses), [response.text for response in responses]
        assert len({response.json()["id"] for response in responses}) == 1
        assert client.get(path).json()["total"] == 1


def test_a_dead_letter_that_several_people_replay_at_once_runs_once(daemon: ApiDaemon, stage: Stage) -> None:
    job = daemon.queue.enqueue(NewJob("splitter", {"how": "fail_when_told"}))
    stage.next_run().go_on(b"x")
    until(lambda: (failed := daemon.queue.job(job.id)) is not None and failed.status is JobStatus.DEAD)
    with daemon.client() as client, ThreadPoolExecutor(4) as people:
        path = f"/api/v1/dead-letters/{job.id}/replay"
        statuses = [response.status_code for response in people.map(client.post, [path] * 4)]

    assert sorted(statuses) == [200, 409, 409, 409]
    stage.next_run().go_on()
    assert wait_for_job(daemon.queue, job.id, timeout=60).status is JobStatus.DONE
    assert stage.is_empty()


def test_what_is_sent_without_end_or_unpacks_without_end_takes_no_memory(daemon: ApiDaemon) -> None:
    def endless(beginning: bytes) -> Iterator[bytes]:
        yield beginning
        for _ in range(ENDLESS_PIECES):
            yield PIECE

    form = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    bomb, escaping = io.BytesIO(), io.BytesIO()
    with (
        zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("silence.wav", "w", force_zip64=True) as member,
    ):
        for _ in range(ENDLESS_PIECES):
            member.write(PIECE)
    with zipfile.ZipFile(escaping, "w") as archive:
        archive.writestr("../../escaped.wav", RECORDING.read_bytes())
    with daemon.client() as client:
        upload(client)  # what every upload loads is there
        before = peak_mib(daemon.api_pid)
        multipart = {"Content-Type": "multipart/form-data; boundary=x"}
        too_large = client.post("/api/v1/files", content=endless(form), headers=multipart)
        no_json = client.post("/api/v1/tasks", content=endless(b"{"), headers={"Content-Type": "application/json"})
        unpacked = client.post("/api/v1/files", files={"file": ("bomb.zip", bomb.getvalue())})
        escaped = client.post("/api/v1/files", files={"file": ("escaping.zip", escaping.getvalue())})
        after = peak_mib(daemon.api_pid)

    assert (too_large.status_code, no_json.status_code) == (413, 413)
    assert unpacked.status_code == 400, unpacked.text
    assert escaped.status_code in (201, 400)
    assert not list(daemon.folder.parent.rglob("escaped.wav"))
    assert after - before < MAX_GROWTH_MIB


def peak_mib(pid: int) -> float:
    """Return the most that a process ever held."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
