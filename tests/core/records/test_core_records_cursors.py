"""Pages of a list by cursor: the same items in the same order as by offset, whatever is added meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from core.errors import InvalidParameter
from core.records import NewCheckpointRecord, NewFileRecord, NewVoiceRecord, Page, Records


class Clock:
    """Two records share each second, so that time alone is no order."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> float:
        self.calls += 1
        return 1_700_000_000.0 + self.calls // 2


@pytest.fixture
async def records(database_url: str) -> AsyncIterator[Records]:
    records = Records(database_url, clock=Clock())
    yield records
    await records.close()


async def add(records: Records, kind: str, number: int) -> None:
    """Voices have ids without an order."""
    if kind == "files":
        id_ = f"file-{number:03d}"
        await records.files.create(
            NewFileRecord(id=id_, filename="a.wav", purpose="training", size_bytes=1, sha256="0" * 64)
        )
    else:
        name = f"{number * 7 % 10}-{number}"
        fields: dict[str, Any] = {"version": "nano", "sha256": "0" * 64, "size_bytes": 8}
        for part in ("gpt", "sovits"):
            await records.checkpoints.create(NewCheckpointRecord(id=f"ckpt-{part}", kind=part, **fields))
        await records.voices.create(
            NewVoiceRecord(
                id=f"voice-{name}",
                name=name,
                version="nano",
                language="en",
                prompts=[],
                gpt_checkpoint_id="ckpt-gpt",
                sovits_checkpoint_id="ckpt-sovits",
            )
        )


async def page(records: Records, kind: str, limit: int, offset: int = 0, cursor: str = "") -> Page:
    return await (records.files if kind == "files" else records.voices).page(limit, offset, cursor=cursor)


@pytest.mark.parametrize("kind", ["files", "voices"])
async def test_cursors_lead_through_a_list_once_while_it_grows(records: Records, kind: str):
    for number in range(7):
        await add(records, kind, number)
    everything = [item.id for item in (await page(records, kind, 50)).items]

    first = await page(records, kind, 3)
    await add(records, kind, 8)  # would shift the pages by offset
    second = await page(records, kind, 3, cursor=first.next_cursor or "")
    third = await page(records, kind, 3, cursor=second.next_cursor or "")

    assert [item.id for part in (first, second, third) for item in part.items] == everything
    assert (len(third.items), third.next_cursor, third.total) == (1, None, 8)
    assert (await page(records, kind, 3, offset=1, cursor=first.next_cursor or "")).items[0].id == everything[4]


async def test_a_cursor_that_is_none_is_named(records: Records):
    with pytest.raises(InvalidParameter, match="cursor is 'x~y'"):
        await records.voices.page(3, cursor="x~y")
