"""The recordings and segments of a version: rows that live from one version to another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, Table, and_, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.records.database import as_values
from core.records.dataset_rows import DatasetContents, RecordingRow, SegmentRow
from core.records.models import dataset_recordings, dataset_segments
from core.records.rows import Page

Row = TypeVar("Row", RecordingRow, SegmentRow)

_ROWS: Final = 500
"""Rows that one statement names."""


async def read_contents(connection: AsyncConnection, dataset_id: str, version: int) -> DatasetContents:
    """All that a version holds."""
    return DatasetContents(
        await _alive(connection, dataset_recordings, RecordingRow, dataset_id, version),
        await _alive(connection, dataset_segments, SegmentRow, dataset_id, version),
    )


async def page_segments(
    connection: AsyncConnection, dataset_id: str, version: int, limit: int, offset: int, numbers: Sequence[int] | None
) -> Page[SegmentRow]:
    """Segments in order; with `numbers`, those alone."""
    table = dataset_segments
    where = _at(table, dataset_id, version)
    if numbers is not None:
        where = and_(where, table.c.number.in_(numbers))
    total = (await connection.execute(select(func.count()).select_from(table).where(where))).scalar_one()
    query = select(*_columns(table, SegmentRow)).where(where).order_by(table.c.number).limit(limit).offset(offset)
    return Page([SegmentRow(*row) for row in (await connection.execute(query)).all()], total)


async def write_contents(
    connection: AsyncConnection, dataset_id: str, version: int, before: DatasetContents, after: DatasetContents
) -> None:
    """Let `version` hold `after`: what did not change since `before` lives on, so old versions stay as they were."""
    await _write(connection, dataset_recordings, dataset_id, version, before.recordings, after.recordings)
    await _write(connection, dataset_segments, dataset_id, version, before.segments, after.segments)


async def write_measures(
    connection: AsyncConnection, dataset_id: str, version: int, measures: dict[int, dict[str, Any]]
) -> None:
    """Note beside each segment (by number) what was measured; a measurement makes no new version."""
    for number, values in measures.items():
        where = and_(_at(dataset_segments, dataset_id, version), dataset_segments.c.number == number)
        await connection.execute(update(dataset_segments).where(where).values(measures=values))


async def _write(
    connection: AsyncConnection,
    table: Table,
    dataset_id: str,
    version: int,
    before: Sequence[Row],
    after: Sequence[Row],
) -> None:
    old = {row.number: row for row in before}
    new = {row.number: row for row in after}
    ended = [number for number, row in old.items() if number not in new or not _same(row, new[number])]
    for some in _parts(ended):
        where = and_(_at(table, dataset_id, version - 1), table.c.number.in_(some), table.c.until.is_(None))
        await connection.execute(update(table).where(where).values(until=version))
    begun = [row for number, row in new.items() if number not in old or not _same(old[number], row)]
    for rows in _parts(begun):
        common = {"dataset_id": dataset_id, "since": version, "until": None}
        await connection.execute(insert(table), [{**as_values(row), **common} for row in rows])


def _same(one: Row, other: Row) -> bool:
    if isinstance(one, SegmentRow) and isinstance(other, SegmentRow):
        return replace(one, measures={}) == replace(other, measures={})
    return one == other


async def _alive(
    connection: AsyncConnection, table: Table, kind: type[Row], dataset_id: str, version: int
) -> list[Row]:
    query = select(*_columns(table, kind)).where(_at(table, dataset_id, version)).order_by(table.c.number)
    return [kind(*row) for row in (await connection.execute(query)).all()]


def _at(table: Table, dataset_id: str, version: int) -> ColumnElement[bool]:
    ends_later = or_(table.c.until.is_(None), table.c.until > version)
    return and_(table.c.dataset_id == dataset_id, table.c.since <= version, ends_later)


def _columns(table: Table, kind: type[Row]) -> list[Any]:
    return [table.c[one.name] for one in fields(kind)]


def _parts(items: Iterable[Any]) -> list[list[Any]]:
    everything = list(items)
    return [everything[first : first + _ROWS] for first in range(0, len(everything), _ROWS)]
