"""Versions of data sets in the records: what one changes, the others keep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from core.errors import Conflict, NotFound
from core.records import DatasetContents, DatasetStatus, NewFileRecord, RecordingRecord, Records, SegmentRecord
from core.records.models.datasets import DatasetReport, RecordingSource


@pytest.fixture
async def records(database_url: str) -> AsyncIterator[Records]:
    records = Records(database_url)
    yield records
    await records.close()


def contents(count: int, **values: Any) -> DatasetContents:
    numbers = range(1, count + 1)
    return DatasetContents(
        [RecordingRecord(n, f"{n}.wav", None, f"r{n}", 2.0, 16_000, f"a/{n}") for n in numbers],
        [SegmentRecord(n, n, f"{n}.wav", 0.0, 2.0, f"a/{n}", f"s{n}", **values) for n in numbers],
    )


async def make(records: Records, count: int = 3) -> str:
    await records.datasets.create("ds-one", "one", "en", "import", {}, 5)
    await records.dataset_versions.finish("ds-one", 1, contents(count), [], "Made.")
    return "ds-one"


async def test_every_version_can_be_read_as_it_was(records: Records) -> None:
    dataset = await make(records)
    first = contents(3)
    second = DatasetContents(first.recordings, [replace(first.segments[0], transcript="Other."), *first.segments[1:]])
    third = DatasetContents(first.recordings[1:], second.segments[1:])

    for after in (second, third, contents(4)):
        begun = await records.dataset_versions.begin(dataset, "add", {}, 5)
        await records.dataset_versions.finish(dataset, begun.version, after, [], "Made.")

    assert await records.dataset_versions.contents(dataset, 1) == first
    assert await records.dataset_versions.contents(dataset, 2) == second
    assert await records.dataset_versions.contents(dataset, 3) == third
    assert await records.dataset_versions.contents(dataset, 4) == contents(4)
    page = await records.dataset_versions.page(dataset, limit=2, offset=1)
    assert ([item.version for item in page.items], page.total) == ([3, 2], 4)


async def test_a_failed_version_is_passed_over(records: Records) -> None:
    dataset = await make(records)
    await records.dataset_versions.begin(dataset, "crop", {}, 5)
    await records.dataset_versions.fail(dataset, 2, {"code": "bad_audio", "message": "No."})

    await records.dataset_versions.begin(dataset, "add", {}, 5)
    version = await records.dataset_versions.finish(dataset, 3, contents(2), [], "Made.")

    assert (version.parent, version.status) == (1, DatasetStatus.READY)
    assert await records.dataset_versions.contents(dataset, 1) == contents(3)
    assert await records.dataset_versions.contents(dataset, 3) == contents(2)
    assert (await records.dataset_versions.get(dataset)).version == 3
    with pytest.raises(Conflict, match="was given up"):
        await records.dataset_versions.finish(dataset, 2, contents(1), [], "Too late.")


async def test_of_two_who_begin_a_version_at_once_one_is_refused(records: Records) -> None:
    dataset = await make(records)

    outcomes = await asyncio.gather(
        *(records.dataset_versions.begin(dataset, "add", {}, 5) for _ in range(8)), return_exceptions=True
    )

    assert sum(isinstance(item, Conflict) for item in outcomes) == 7
    assert (await records.datasets.get(dataset)).latest == 2


async def test_edits_at_once_lose_nothing(records: Records) -> None:
    dataset = await make(records, 8)

    def leave_out(number: int) -> Any:
        def change(_: Any, before: DatasetContents) -> tuple[DatasetContents, None]:
            segments = [
                replace(segment, left_out=True) if segment.number == number else segment for segment in before.segments
            ]
            return replace(before, segments=segments), None

        return change

    await asyncio.gather(*(records.dataset_versions.edit(dataset, leave_out(number)) for number in range(1, 9)))

    version = await records.dataset_versions.get(dataset)
    assert version.version == 9
    assert all(segment.left_out for segment in (await records.dataset_versions.contents(dataset, 9)).segments)


async def test_an_exception_in_an_edit_leaves_everything_as_it_was(records: Records) -> None:
    dataset = await make(records)

    def fail(*_: Any) -> Any:
        raise NotFound("no")

    with pytest.raises(NotFound):
        await records.dataset_versions.edit(dataset, fail)

    assert (await records.datasets.get(dataset)).latest == 1


async def test_measures_are_noted_without_a_new_version(records: Records) -> None:
    dataset = await make(records)
    await records.dataset_reports.begin(dataset, 1, {})

    report: DatasetReport = {"version": 1, "language": "en", "options": {}, "listened": True, "flags": {}}
    kept = await records.dataset_reports.end(dataset, 1, 1, report, None, {2: {"heard": "Hi."}})
    late = await records.dataset_reports.end(dataset, 1, 1, report)

    assert (kept, late) == (True, False)
    assert (await records.dataset_versions.get_segment(dataset, 1, 2)).measures == {"heard": "Hi."}
    version = await records.dataset_versions.get(dataset)
    assert version.report is not None
    assert str(version.report["made_at"]).endswith("Z")


async def test_a_file_of_a_data_set_in_the_making_is_in_use(records: Records) -> None:
    await records.files.create(
        NewFileRecord(id="file-1", filename="a", purpose="dataset", size_bytes=1, sha256="0" * 64)
    )
    source: RecordingSource = {"file_id": "file-1", "transcript": "", "language": "en", "speaker": ""}
    await records.datasets.create("ds-one", "one", "en", "import", {"sources": [source]}, 5)

    with pytest.raises(Conflict, match="ds-one"):
        await records.files.delete("file-1")

    await records.dataset_versions.finish("ds-one", 1, contents(1), [], "Made.")
    assert (await records.files.delete("file-1")).id == "file-1"


async def test_a_deleted_data_set_leaves_no_rows(records: Records) -> None:
    dataset = await make(records)

    await records.datasets.delete(dataset)

    with pytest.raises(NotFound):
        await records.datasets.get(dataset)
    again = await make(records, 1)
    assert await records.dataset_versions.contents(again, 1) == contents(1)


async def test_what_is_unfinished_is_listed(records: Records) -> None:
    dataset = await make(records)
    await records.dataset_reports.begin(dataset, 1, {})
    await records.datasets.create("ds-two", "two", "en", "import", {}, 5)

    unfinished = await records.dataset_versions.unfinished()

    assert sorted(item.dataset_id for item in unfinished) == ["ds-one", "ds-two"]
