"""SELECT statements that return records, and the conversion between records and rows."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final, TypeVar

from sqlalchemy import Column, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql import ColumnElement

from core.records.models.page import Page

Record = TypeVar("Record")

_UNORDERED_IDS: Final = ("checkpoints", "voices")
"""Tables whose ids may be derived from their content; ids of all others begin with their time."""


def columns(table: Table, record: type[Any]) -> list[Column[Any]]:
    """Return the table's columns in the order of the record's fields, so that `record(*row)` works."""
    return [table.c[field.name] for field in fields(record)]


def as_values(record: Any) -> dict[str, Any]:
    """Return a record as the values of its row."""
    return {field.name: getattr(record, field.name) for field in fields(record)}


async def fetch_one(
    connection: AsyncConnection, table: Table, record: type[Record], *where: ColumnElement[bool], lock: bool = False
) -> Record | None:
    """Return the first matching record, or None.

    `lock` keeps other transactions on PostgreSQL from changing the row, or referring to it, until this one ends.
    """
    query = select(*columns(table, record)).where(*where)
    row = (await connection.execute(query.with_for_update() if lock else query)).first()
    return None if row is None else record(*row)


async def fetch_all(
    connection: AsyncConnection,
    table: Table,
    record: type[Record],
    *where: ColumnElement[bool],
    order_by: Column[Any] | None = None,
    limit: int | None = None,
) -> list[Record]:
    """Return all matching records."""
    query = select(*columns(table, record)).where(*where)
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
) -> Page[Record]:
    """Return a page of matching records, newest first, by id wherever ids begin with their time."""
    order = (table.c.created_at.desc(),) if table.name in _UNORDERED_IDS else ()
    total = (await connection.execute(select(func.count()).select_from(table).where(*where))).scalar_one()
    query = (
        select(*columns(table, record)).where(*where).order_by(*order, table.c.id.desc()).limit(limit).offset(offset)
    )
    return Page([record(*row) for row in (await connection.execute(query)).all()], total)
