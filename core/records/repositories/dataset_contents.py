"""Queries for the recordings and segments of a version: rows shared by all versions from `since` to before `until`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from sqlalchemy import ColumnElement, Table, and_, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from common.json_types import JsonObject
from core.records.models.datasets import DatasetContents, RecordingRecord, SegmentRecord
from core.records.models.page import Page
from core.records.queries import as_values, columns
from core.records.tables import dataset_recordings, dataset_segments

Row = TypeVar("Row", RecordingRecord, SegmentRecord)
Item = TypeVar("Item")

_MAX_ROWS: Final = 500
"""Rows in one statement."""


async def read_contents(connection: AsyncConnection, dataset_id: str, version: int) -> DatasetContents:
    """Return all recordings and segments of a version, in order."""
    return DatasetContents(
        await _read_rows(connection, dataset_recordings, RecordingRecord, dataset_id, version),
        await _read_rows(connection, dataset_segments, SegmentRecord, dataset_id, version),
    )


async def page_segments(
    connection: AsyncConnection, dataset_id: str, version: int, limit: int, offset: int, numbers: Sequence[int] | None
) -> Page[SegmentRecord]:
    """Return a page of segments in order; with `numbers`, only those."""
    table = dataset_segments
    where = _in_version(table, dataset_id, version)
    if numbers is not None:
        where = and_(where, table.c.number.in_(numbers))
    total = (await connection.execute(select(func.count()).select_from(table).where(where))).scalar_one()
    query = select(*columns(table, SegmentRecord)).where(where).order_by(table.c.number).limit(limit).offset(offset)
    return Page([SegmentRecord(*row) for row in (await connection.execute(query)).all()], total)


async def write_contents(
    connection: AsyncConnection, dataset_id: str, version: int, before: DatasetContents, after: DatasetContents
) -> None:
    """Write the contents of a new version as the difference to the one before; older versions stay as they were."""
    await _write_rows(connection, dataset_recordings, dataset_id, version, before.recordings, after.recordings)
    await _write_rows(connection, dataset_segments, dataset_id, version, before.segments, after.segments)


async def write_measures(
    connection: AsyncConnection, dataset_id: str, version: int, measures: Mapping[int, JsonObject]
) -> None:
    """Write what a report measured of each segment, by number; measurements make no new version."""
    for number, values in measures.items():
        where = and_(_in_version(dataset_segments, dataset_id, version), dataset_segments.c.number == number)
        await connection.execute(update(dataset_segments).where(where).values(measures=values))


async def _write_rows(
    connection: AsyncConnection,
    table: Table,
    dataset_id: str,
    version: int,
    before: Sequence[Row],
    after: Sequence[Row],
) -> None:
    old = {row.number: row for row in before}
    new = {row.number: row for row in after}
    ended = [number for number, row in old.items() if number not in new or not _equal(row, new[number])]
    for numbers in _batches(ended):
        where = and_(_in_version(table, dataset_id, version - 1), table.c.number.in_(numbers), table.c.until.is_(None))
        await connection.execute(update(table).where(where).values(until=version))
    begun = [row for number, row in new.items() if number not in old or not _equal(old[number], row)]
    for rows in _batches(begun):
        common = {"dataset_id": dataset_id, "since": version, "until": None}
        await connection.execute(insert(table), [{**as_values(row), **common} for row in rows])


def _equal(row: Row, other: Row) -> bool:
    if isinstance(row, SegmentRecord) and isinstance(other, SegmentRecord):
        return replace(row, measures={}) == replace(other, measures={})
    return row == other


async def _read_rows(
    connection: AsyncConnection, table: Table, row_type: type[Row], dataset_id: str, version: int
) -> list[Row]:
    where = _in_version(table, dataset_id, version)
    query = select(*columns(table, row_type)).where(where).order_by(table.c.number)
    return [row_type(*row) for row in (await connection.execute(query)).all()]


def _in_version(table: Table, dataset_id: str, version: int) -> ColumnElement[bool]:
    ends_later = or_(table.c.until.is_(None), table.c.until > version)
    return and_(table.c.dataset_id == dataset_id, table.c.since <= version, ends_later)


def _batches(items: list[Item]) -> Iterator[list[Item]]:
    for first in range(0, len(items), _MAX_ROWS):
        yield items[first : first + _MAX_ROWS]
