"""Tasks that are cancelled end, however stubborn."""

from __future__ import annotations

import asyncio

import pytest

from core import cancellation


async def test_work_that_forgets_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancellation, "RETRY_SECONDS", 0.01)
    forgotten: list[str] = []

    async def forgetful() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            forgotten.append("once")
        await asyncio.Event().wait()

    work, ended = asyncio.create_task(forgetful()), asyncio.create_task(asyncio.sleep(0))
    await ended

    await cancellation.cancel_and_wait(work, ended)

    assert work.cancelled()
    assert forgotten == ["once"]
