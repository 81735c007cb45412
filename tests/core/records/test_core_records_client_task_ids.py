"""Ids that clients choose for their tasks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from manual_clock import ManualClock

from core.access import USER_SCOPES, Caller, act_as
from core.errors import Conflict
from core.records import Records
from core.records.repositories.client_task_ids import CREATION_SECONDS

ALICE, BOB = (Caller(name, USER_SCOPES, f"key-{name}") for name in ("alice", "bob"))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def records(database_url: str, clock: ManualClock) -> AsyncIterator[Records]:
    records = Records(database_url, clock=clock)
    yield records
    await records.close()


async def test_an_id_is_unique_for_its_owner(records: Records) -> None:
    with act_as(ALICE):
        await records.client_task_ids.reserve("mine")
        await records.client_task_ids.assign("mine", "task-1")
        with pytest.raises(Conflict, match="'mine'"):
            await records.client_task_ids.reserve("mine")
    with act_as(BOB):
        before = await records.client_task_ids.find("mine")
        await records.client_task_ids.reserve("mine")
        await records.client_task_ids.assign("mine", "task-2")
        of_bob = await records.client_task_ids.find("mine")
    with act_as(ALICE):
        of_alice = await records.client_task_ids.find("mine")
        names = await records.client_task_ids.names()

    assert (before, of_bob, of_alice) == (None, "task-2", "task-1")
    assert names == {"task-1": "mine"}


async def test_an_id_is_free_again_when_its_request_died_or_its_task_is_gone(
    records: Records, clock: ManualClock
) -> None:
    ids = records.client_task_ids
    await ids.reserve("mine")
    with pytest.raises(Conflict):
        await ids.reserve("mine")
    clock.now += CREATION_SECONDS + 1
    await ids.reserve("mine")
    await ids.assign("mine", "task-1")
    await ids.forget("task-1")

    await ids.reserve("mine")
    await ids.release("mine")

    assert await ids.find("mine") is None
