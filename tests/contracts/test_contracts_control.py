"""`/control` of upstream's interfaces: an admin ends the daemon, or has it start again as the same process."""

from __future__ import annotations

from pathlib import Path

import httpx
import orjson
import pytest
from redis_servers import wait_until

from scripts.demo_daemon import Daemon

pytestmark = pytest.mark.slow
ADMIN = {"X-API-Key": "the-admins-key"}


def api_pid(daemon: Daemon) -> int:
    """Return the process of the API, 0 while none is announced."""
    try:
        return int(orjson.loads((daemon.data / "run" / "api.json").read_bytes())["pid"])
    except FileNotFoundError:
        return 0


def test_an_admin_restarts_and_ends_the_daemon(tmp_path: Path):
    settings = {"VALID_API_KEYS": "a-users-key", "ADMIN_API_KEYS": ADMIN["X-API-Key"]}
    with Daemon(tmp_path / "data", tmp_path / "daemon.log", settings) as daemon:
        before = api_pid(daemon)
        user = httpx.get(f"{daemon.url}/control?command=exit", headers={"X-API-Key": "a-users-key"})

        restart = httpx.get(f"{daemon.url}/control?command=restart", headers=ADMIN)
        wait_until(lambda: api_pid(daemon) not in (0, before), "another API", 60)
        running = daemon.process.poll() is None
        url = str(orjson.loads((daemon.data / "run" / "api.json").read_bytes())["url"])
        voices = httpx.get(f"{url}/voices").json()

        leave = httpx.post(f"{url}/control", json={"command": "exit"}, headers=ADMIN)
        code = daemon.process.wait(60)

    log = (tmp_path / "daemon.log").read_text()
    assert user.status_code == 403
    assert (restart.status_code, restart.content) == (200, b"")
    assert running
    assert voices == ["allison", "xiaoyi", "yunjian"]
    assert (leave.status_code, code) == (200, 0)
    assert log.count("Starting again.") == 1
