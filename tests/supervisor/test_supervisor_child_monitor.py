"""A child process is restarted when it exits, drained when asked, and disabled when it cannot start or work."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from core.jobs.worker_process import CANNOT_START, RECYCLED, UNUSABLE
from supervisor import child_monitor
from supervisor.child_monitor import MAX_BOOT_FAILURES, BootFailed, ChildMonitor, restart_delay
from supervisor.child_specs import ChildSpec

NAP = "import signal; signal.pause()"


@pytest.fixture(autouse=True)
def _no_delay(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(child_monitor, "MIN_RESTART_DELAY_SECONDS", 0.0)


def spec(code: str, *arguments: str, role: str = "splitter", drain_seconds: float = 5.0) -> ChildSpec:
    return ChildSpec(
        "Toy",
        [sys.executable, "-c", code, *arguments],
        dict(os.environ),
        role=role,
        drain_seconds=drain_seconds,
    )


class Exit(NamedTuple):
    """The exit of a worker."""

    worker_id: str
    crashed: bool


@asynccontextmanager
async def running(child: ChildSpec) -> AsyncIterator[tuple[ChildMonitor, asyncio.Queue[Exit], asyncio.Task[None]]]:
    """Monitor a child; the queue holds the workers that exited."""
    exits: asyncio.Queue[Exit] = asyncio.Queue()

    async def note(worker_id: str, *, crashed: bool) -> None:
        await exits.put(Exit(worker_id, crashed))

    monitor = ChildMonitor(child, note)
    task = asyncio.create_task(monitor.run())
    try:
        yield monitor, exits, task
    finally:
        await monitor.drain()
        await asyncio.wait({task}, timeout=60)
        task.cancel()


async def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # what is waited for happens in another process
            await asyncio.sleep(0.01)


async def test_a_killed_child_is_restarted_and_its_worker_id_reported():
    async with running(spec(NAP)) as (monitor, exits, _):
        await until(lambda: monitor.child is not None)
        first, worker_id = monitor.child, monitor.worker_id
        assert first is not None
        monitor.ready = True

        first.kill()

        assert await asyncio.wait_for(exits.get(), 60) == (worker_id, True)
        await until(lambda: monitor.child is not first)
        assert monitor.worker_id != worker_id


@pytest.mark.parametrize(
    "end", [f"sys.exit({CANNOT_START})", "raise RuntimeError('broken')", "os.kill(os.getpid(), 9)"]
)
async def test_an_api_that_never_starts_is_given_up_with_its_last_log_line(end: str):
    code = f"import os, sys; print('the engine is missing', file=sys.stderr, flush=True); {end}"
    async with running(spec(code, role="")) as (_, _, task):
        with pytest.raises(BootFailed, match=r"Toy cannot start \(3 times in a row\): .*: (.*missing|.*broken)"):
            await asyncio.wait_for(task, 60)


@pytest.mark.parametrize(("code", "verb"), [(CANNOT_START, "start"), (UNUSABLE, "work")])
async def test_a_worker_that_cannot_start_or_work_is_disabled_with_the_reason_and_tried_again(
    code: int, verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(child_monitor, "DISABLED_SECONDS", 0.5)
    repaired = tmp_path / "repaired"
    program = (
        "import pathlib, signal, sys\n"
        f"if pathlib.Path({str(repaired)!r}).exists(): signal.pause()\n"
        f"print('the engine is missing', file=sys.stderr, flush=True); sys.exit({code})"
    )
    async with running(spec(program)) as (monitor, _, task):
        await until(lambda: monitor.disabled)

        assert monitor.fault == f"exit code {code}: the engine is missing"
        assert not monitor.ready
        assert f"Toy cannot {verb} (3 times in a row)" in caplog.text
        repaired.touch()
        await until(lambda: monitor.child is not None and monitor.child.running)
        monitor.note_ready()
        assert (monitor.fault, monitor.disabled, task.done()) == ("", False, False)


@pytest.mark.parametrize("code", [0, RECYCLED, UNUSABLE])
async def test_only_a_crash_counts_against_the_jobs_of_a_worker(code: int):
    async with running(spec(f"import sys; sys.exit({code})")) as (_, exits, _):
        assert not (await asyncio.wait_for(exits.get(), 60)).crashed


async def test_a_child_that_was_ready_may_die_as_often_as_it_likes():
    async with running(spec(NAP)) as (monitor, _, task):
        for _ in range(MAX_BOOT_FAILURES + 1):
            await until(lambda: monitor.child is not None and monitor.child.running and not monitor.ready)
            assert monitor.child is not None
            dead = monitor.child
            monitor.ready = True
            dead.kill()
            await until(lambda dead=dead: monitor.child is not dead)

        assert not task.done()


@pytest.mark.parametrize(("boot_seconds", "delay"), [(0.0, "0.0"), (60.0, "3.0")])
async def test_a_child_that_was_at_work_is_replaced_at_once_unless_it_dies_as_soon_as_it_is_ready(
    boot_seconds: float, delay: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(child_monitor, "BOOT_SECONDS", boot_seconds)
    monkeypatch.setattr(child_monitor, "MIN_RESTART_DELAY_SECONDS", 3.0)
    async with running(spec(NAP)) as (monitor, exits, _):
        await until(lambda: monitor.child is not None)
        assert monitor.child is not None
        monitor.note_ready()

        monitor.child.kill()

        await asyncio.wait_for(exits.get(), 60)
        await until(lambda: f"in {delay} s" in caplog.text)


async def test_a_worker_that_ended_itself_to_stop_a_job_is_restarted_without_a_warning(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
):
    caplog.set_level("INFO")
    code = (
        "import pathlib, sys\n"
        "mark = pathlib.Path(sys.argv[1])\n"
        f"if not mark.exists(): mark.touch(); sys.exit({RECYCLED})\n"
        f"{NAP}"
    )
    async with running(spec(code, str(tmp_path / "seen"))) as (monitor, exits, _):
        await asyncio.wait_for(exits.get(), 60)
        await until(lambda: monitor.child is not None and monitor.child.running)

        assert "Restarting Toy, which ended itself to stop a job." in caplog.text
        assert "unexpected exit" not in caplog.text


async def test_a_drained_child_may_finish_and_is_not_started_again(tmp_path: Path):
    done = tmp_path / "done"
    code = (
        "import pathlib, signal, sys\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path({str(done)!r}).touch(), sys.exit(0)))\n"
        f"pathlib.Path({str(tmp_path / 'up')!r}).touch()\n"
        "signal.pause()"
    )
    async with running(spec(code)) as (monitor, _, task):
        await until((tmp_path / "up").exists)

        await monitor.drain()

        await asyncio.wait_for(task, 60)
        assert done.exists()


async def test_a_child_that_will_not_drain_is_killed(tmp_path: Path):
    code = (
        "import pathlib, signal\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(tmp_path / 'up')!r}).touch()\n"
        "while True: signal.pause()"
    )
    async with running(spec(code, drain_seconds=0.2)) as (monitor, _, task):
        await until((tmp_path / "up").exists)
        assert monitor.child is not None

        await monitor.drain()

        await asyncio.wait_for(task, 60)
        assert await monitor.child.wait() == -signal.SIGKILL


async def test_only_workers_have_an_id_to_report():
    async with running(spec("import sys; sys.exit(1)", role="")) as (monitor, exits, task):
        with pytest.raises(BootFailed):
            await asyncio.wait_for(task, 60)

        assert monitor.worker_id == ""
        assert exits.empty()


def test_restarts_come_slower_and_slower_but_never_later_than_a_job_may_wait(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(child_monitor, "MIN_RESTART_DELAY_SECONDS", 0.5)

    assert [restart_delay(exits) for exits in range(1, 8)] == [0.5, 1, 2, 4, 8, 15, 15]
