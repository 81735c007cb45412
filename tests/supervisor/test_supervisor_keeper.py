"""One child's life, again and again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from core.process import CANNOT_START, RECYCLED
from supervisor import child_monitor as keeper_module
from supervisor.child_monitor import BOOT_FAILURES, BootFailed, ChildSpec, Keeper, restart_delay

NAP = "import signal; signal.pause()"


@pytest.fixture(autouse=True)
def _no_delay(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keeper_module, "FIRST_DELAY_SECONDS", 0.0)


class Cemetery:
    """Remembers the workers that were buried."""

    def __init__(self) -> None:
        self.graves: asyncio.Queue[str] = asyncio.Queue()

    async def bury(self, worker_id: str) -> None:
        await self.graves.put(worker_id)


def spec(code: str, *arguments: str, role: str = "splitter", drain_seconds: float = 5.0) -> ChildSpec:
    return ChildSpec(
        "Toy",
        [sys.executable, "-c", code, *arguments],
        dict(os.environ),
        role=role,
        drain_seconds=drain_seconds,
    )


@asynccontextmanager
async def kept(child: ChildSpec) -> AsyncIterator[tuple[Keeper, Cemetery, asyncio.Task[None]]]:
    cemetery = Cemetery()
    keeper = Keeper(child, cemetery.bury)
    task = asyncio.create_task(keeper.run())
    try:
        yield keeper, cemetery, task
    finally:
        await keeper.drain()
        await asyncio.wait({task}, timeout=5)
        task.cancel()


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # what is waited for happens in another process
            await asyncio.sleep(0.01)


async def test_a_killed_child_is_started_again_and_its_jobs_are_handed_back():
    async with kept(spec(NAP)) as (keeper, cemetery, _):
        await until(lambda: keeper.child is not None)
        first, worker_id = keeper.child, keeper.worker_id
        assert first is not None
        keeper.ready = True

        first.kill()

        assert await asyncio.wait_for(cemetery.graves.get(), 5) == worker_id
        await until(lambda: keeper.child is not first)
        assert keeper.worker_id != worker_id


@pytest.mark.parametrize(
    "end", [f"sys.exit({CANNOT_START})", "raise RuntimeError('broken')", "os.kill(os.getpid(), 9)"]
)
async def test_a_child_that_never_starts_is_given_up_with_its_last_words(end: str):
    code = f"import os, sys; print('the engine is missing', file=sys.stderr, flush=True); {end}"
    async with kept(spec(code)) as (_, cemetery, task):
        with pytest.raises(BootFailed, match=r"Toy cannot start \(3 times in a row\): .*: (.*missing|.*broken)"):
            await asyncio.wait_for(task, 10)

        assert cemetery.graves.qsize() == BOOT_FAILURES


async def test_a_child_that_was_ready_may_die_as_often_as_it_likes():
    async with kept(spec(NAP)) as (keeper, _, task):
        for _ in range(BOOT_FAILURES + 1):
            await until(lambda: keeper.child is not None and keeper.child.running and not keeper.ready)
            assert keeper.child is not None
            dead = keeper.child
            keeper.ready = True
            dead.kill()
            await until(lambda dead=dead: keeper.child is not dead)

        assert not task.done()


async def test_a_worker_that_ended_itself_to_stop_a_job_is_no_accident(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
):
    caplog.set_level("INFO")
    code = (
        "import pathlib, sys\n"
        "mark = pathlib.Path(sys.argv[1])\n"
        f"if not mark.exists(): mark.touch(); sys.exit({RECYCLED})\n"
        f"{NAP}"
    )
    async with kept(spec(code, str(tmp_path / "seen"))) as (keeper, cemetery, _):
        await asyncio.wait_for(cemetery.graves.get(), 5)
        await until(lambda: keeper.child is not None and keeper.child.running)

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
    async with kept(spec(code)) as (keeper, _, task):
        await until((tmp_path / "up").exists)

        await keeper.drain()

        await asyncio.wait_for(task, 5)
        assert done.exists()


async def test_a_child_that_will_not_drain_is_killed(tmp_path: Path):
    code = (
        "import pathlib, signal\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(tmp_path / 'up')!r}).touch()\n"
        "while True: signal.pause()"
    )
    async with kept(spec(code, drain_seconds=0.2)) as (keeper, _, task):
        await until((tmp_path / "up").exists)
        assert keeper.child is not None

        await keeper.drain()

        await asyncio.wait_for(task, 5)
        assert await keeper.child.wait() == -signal.SIGKILL


async def test_only_workers_have_jobs_to_hand_back():
    async with kept(spec("import sys; sys.exit(1)", role="")) as (keeper, cemetery, task):
        with pytest.raises(BootFailed):
            await asyncio.wait_for(task, 10)

        assert keeper.worker_id == ""
        assert cemetery.graves.empty()


def test_restarts_come_slower_and_slower_but_never_later_than_a_job_may_wait(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keeper_module, "FIRST_DELAY_SECONDS", 0.5)

    assert [restart_delay(deaths) for deaths in range(1, 8)] == [0.5, 1, 2, 4, 8, 15, 15]
