"""SELECT statements that return records, and the conversion between records and rows."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final, TypeVar

from sqlalchemy import Column, Table, func, literal, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement

from core.access import current_caller
from core.creation import began_earlier_at
from core.errors import InvalidParameter
from core.records.models.page import Page
from core.records.tables import (
    dataset_recordings,
    dataset_segments,
    dataset_versions,
    datasets,
    experiments,
    stages,
    voices,
)

Record = TypeVar("Record")

_UNORDERED_IDS: Final = ("checkpoints", "voices")
"""Tables whose ids may be derived from their content; ids of all others begin with their time."""

_OF_OWNERS_ALONE: Final = ("consents", "provenance")
"""Tables whose rows nobody but their owner and admins may see: they say what people did."""

_PARENTS: Final = {
    stages: (stages.c.exp_id, experiments),
    dataset_versions: (dataset_versions.c.dataset_id, datasets),
    dataset_recordings: (dataset_recordings.c.dataset_id, datasets),
    dataset_segments: (dataset_segments.c.dataset_id, datasets),
}
"""Tables whose rows belong to the owner of another row."""


def visible(table: Table) -> tuple[ColumnElement[bool], ...]:
    """Return the condition that the caller may see a row: its own, and what is shared. Admins and the daemon see all.

    The functions below add it to every query, so that what belongs to others is not found, whatever is asked for.
    """
    caller = current_caller()
    if caller.sees_all:
        return ()
    if table in _PARENTS:
        column, parent = _PARENTS[table]
        return (column.in_(select(parent.c.id).where(*visible(parent))),)
    if "owner" not in table.c or table.name == "api_keys":
        return ()
    own = table.c.owner == caller.owner
    if table is voices:
        return (or_(own, voices.c.visibility == "shared"),)
    if table.name in _OF_OWNERS_ALONE:
        return (own,)
    return (or_(own, table.c.owner.is_(None)),)


def columns(table: Table, record: type[Any]) -> list[Column[Any]]:
    """Return the table's columns in the order of the record's fields, so that `record(*row)` works."""
    return [table.c[field.name] for field in fields(record)]


def as_values(record: Any) -> dict[str, Any]:
    """Return a record as the values of its row."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


async def fetch_one(
    connection: AsyncConnection, table: Table, record: type[Record], *where: ColumnElement[bool], lock: bool = False
) -> Record | None:
    """Return the first matching record that the caller may see, or None.

    `lock` keeps other transactions on PostgreSQL from changing the row, or referring to it, until this one ends.
    """
    query = select(*columns(table, record)).where(*where, *visible(table))
    row = (await connection.execute(query.with_for_update() if lock else query)).first()
    return None if row is None else record(*row)


async def find_created(
    connection: AsyncConnection, table: Table, record: type[Record], record_id: str
) -> Record | None:
    """Return what the present request created when it came before and its process died; None for any other request."""
    return None if began_earlier_at() is None else await fetch_one(connection, table, record, table.c.id == record_id)


async def fetch_all(
    connection: AsyncConnection,
    table: Table,
    record: type[Record],
    *where: ColumnElement[bool],
    order_by: Column[Any] | None = None,
    limit: int | None = None,
    of_everybody: bool = False,
) -> list[Record]:
    """Return all matching records that the caller may see, or with `of_everybody` also the others."""
    query = select(*columns(table, record)).where(*where, *(() if of_everybody else visible(table)))
    if order_by is not None:
        query = query.order_by(order_by)
    if limit is not None:
        query = query.limit(limit)
    return [record(*row) for row in (await connection.execute(query)).all()]


async def fetch_page(
    connection: AsyncConnection,
    table: Table,
    record: type[Record],
    limit: int,
    offset: int,
    *where: ColumnElement[bool],
    cursor: str = "",
) -> Page[Record]:
    """Return a page of matching records that the caller may see, newest first: by id where it begins with its time.

    `cursor` of the page before: the page begins after that one, however many there are before it; `offset` counts from
    there. Raises InvalidParameter for one that is none.
    """
    where = (*where, *visible(table))
    by_time = table.name in _UNORDERED_IDS
    keys = (table.c.created_at, table.c.id) if by_time else (table.c.id,)
    order = [key.desc() for key in keys]
    total = (await connection.execute(select(func.count()).select_from(table).where(*where))).scalar_one()
    # The ids come from an index alone; only the rows of the page itself are read.
    ids = select(table.c.id).where(*where, *_after(keys, cursor)).order_by(*order).limit(limit + 1).offset(offset)
    page_ids = list((await connection.execute(ids)).scalars())
    query = select(*columns(table, record)).where(table.c.id.in_(page_ids[:limit])).order_by(*order)
    items = [record(*row) for row in (await connection.execute(query)).all()]
    return Page(items, total, _cursor_after(items[-1], by_time=by_time) if len(page_ids) > limit and items else None)


def _after(keys: tuple[Column[Any], ...], cursor: str) -> list[ColumnElement[bool]]:
    if not cursor:
        return []
    time_text, _, last_id = cursor.rpartition("~")
    if len(keys) == 1:
        return [keys[0] < cursor]
    try:
        created_at = float(time_text)
    except ValueError:
        raise InvalidParameter(f"cursor is {cursor!r}.", hint="It is the `next_cursor` of the page before.") from None
    return [tuple_(*keys) < tuple_(literal(created_at), literal(last_id))]


def _cursor_after(item: Any, *, by_time: bool) -> str:
    return f"{item.created_at!r}~{item.id}" if by_time else str(item.id)
