"""Several processes of the API behind one port: what they know of callers is one, and a dead one comes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from daemon_stage import until

from core.settings import REPOSITORY

pytestmark = pytest.mark.slow
WORKERS = 3
ADMIN = "admin-of-the-test"


class Service:
    """A daemon without workers, whose API has several processes."""

    def __init__(self, data: Path, process: subprocess.Popen[bytes]) -> None:
        self.data = data
        self.process = process

    def announcements(self) -> list[dict[str, object]]:
        return [json.loads(file.read_bytes()) for file in sorted((self.data / "run").glob("api*.json"))]

    @property
    def url(self) -> str:
        return str(self.announcements()[0]["url"])

    def request(self, method: str, path: str, key: str, **options) -> httpx.Response:
        """Send a request over a connection of its own, which any of the processes may accept."""
        return httpx.request(method, self.url + path, headers={"X-API-Key": key}, timeout=60, **options)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    data = tmp_path_factory.mktemp("service") / "data"
    environment = {"PATH": os.environ["PATH"], "HOME": str(data.parent), "DATA_PATH": str(data), "PORT": "0"}
    command = [sys.executable, str(REPOSITORY / "main.py"), "serve", "--roles", "files", "--api-workers", str(WORKERS)]
    with (data.parent / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**environment, "ADMIN_API_KEYS": ADMIN}, stdout=log, stderr=log, cwd=data.parent
        )
        try:
            running = Service(data, process)
            until(lambda: len(running.announcements()) == WORKERS or process.poll() is not None, seconds=120)
            assert process.poll() is None, (data.parent / "log").read_text()
            yield running
        finally:
            process.terminate()
            process.wait(timeout=60)


def new_key(service: Service, **quota: int) -> str:
    body = {"name": "caller", "quota": quota}
    created = service.request("POST", "/api/v1/keys", ADMIN, json=body)
    assert created.status_code == 201, created.text
    return str(created.json()["key"])


def test_all_listen_at_one_port_and_one_that_dies_is_replaced(service):
    before = service.announcements()
    assert len({announcement["url"] for announcement in before}) == 1
    assert len({announcement["pid"] for announcement in before}) == WORKERS
    victim = int(before[1]["pid"])

    os.kill(victim, signal.SIGKILL)

    def replaced() -> bool:
        pids = {announcement["pid"] for announcement in service.announcements()}
        return len(pids) == WORKERS and victim not in pids

    until(replaced, seconds=60)
    assert {service.request("GET", "/health", "").status_code for _ in range(30)} == {200}


def test_requests_a_minute_are_counted_for_all_together_and_a_new_key_is_known_at_once(service):
    started = time.monotonic()
    key = new_key(service, requests_per_minute=5)

    statuses = [service.request("GET", "/api/v1/me", key).status_code for _ in range(30)]

    flowed_back = (time.monotonic() - started) * 5 / 60
    assert set(statuses) == {200, 429}
    assert 5 <= statuses.count(200) <= 6 + flowed_back


def test_a_stream_token_of_one_process_is_known_to_all(service):
    created = service.request("POST", "/api/v1/stream-tokens", ADMIN, json={"scope": "read"})
    token = created.json()["token"]
    path = f"/api/v1/tasks/task-unknown/progress?token={token}"

    assert created.status_code == 201
    assert {httpx.get(service.url + path, timeout=60).status_code for _ in range(12)} == {404}


def test_metrics_are_those_of_all_processes(service):
    path = "/api/v1/info"
    for _ in range(12):
        assert service.request("GET", path, ADMIN).status_code == 200

    counts = {requests_counted(service, path) for _ in range(6)}

    assert counts == {12.0}


def requests_counted(service: Service, path: str) -> float:
    text = service.request("GET", "/metrics", ADMIN).text
    lines = [line for line in text.splitlines() if line.startswith("sovits_http_requests_total") and path in line]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_guesses_are_throttled_whichever_process_they_reach(service):
    guesses = [service.request("GET", "/api/v1/me", f"guess-{number}").status_code for number in range(20)]
    more = {service.request("GET", "/api/v1/me", f"more-{number}").status_code for number in range(10)}

    assert set(guesses[:15]) == {401}  # the other tests have sent none that was wrong, or few
    assert more == {429}


def test_nothing_is_left_when_it_ends(service):
    pids = [int(announcement["pid"]) for announcement in service.announcements()]

    service.process.terminate()
    code = service.process.wait(timeout=60)

    assert code == 0
    assert service_announcements_gone(service)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def service_announcements_gone(service: Service) -> bool:
    return list((service.data / "run").glob("api*.json")) == []
