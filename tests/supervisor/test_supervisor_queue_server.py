"""The embedded queue server under a supervisor that has other things to do."""

from __future__ import annotations

import asyncio
import fcntl
from pathlib import Path

import pytest
from daemon_stage import until

from core.settings import read_settings
from supervisor.supervisor import Supervisor


async def test_the_supervisor_does_other_things_while_its_queue_server_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr("core.redis_server.LOCK_SECONDS", 60.0)
    supervisor = Supervisor(read_settings(data_path=tmp_path, redis_url=""), with_api=False)
    await supervisor._in_server_thread(supervisor._start_server)
    server = supervisor._server
    assert server is not None
    assert server.process is not None
    server.process.kill()
    server.process.wait()
    async with asyncio.timeout(50):
        with (server.folder / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # so that the next one cannot start
            watching = asyncio.create_task(supervisor._watch_server())
            await asyncio.to_thread(until, lambda: "Restarting the queue server" in caplog.text)
            assert "The queue server runs again" not in caplog.text
        await asyncio.to_thread(until, lambda: "The queue server runs again" in caplog.text)
    watching.cancel()
    await supervisor._in_server_thread(server.stop)
