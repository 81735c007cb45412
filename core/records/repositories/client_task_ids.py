"""Ids that clients of the model service chose for their tasks, each unique for its owner."""

from __future__ import annotations

from typing import Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql import ColumnElement

from core.access import current_caller
from core.errors import Conflict
from core.records.repositories.repository import Repository
from core.records.tables import client_task_ids

CREATION_SECONDS: Final = 60.0
"""For so long an id without a task belongs to a request that is still creating it."""


class ClientTaskIdRepository(Repository):
    """Records of chosen ids."""

    async def reserve(self, name: str) -> None:
        """Reserve an id for a task that is about to be created; raise Conflict when it is taken."""
        owner, now = _owner(), self._database.now()
        row = (client_task_ids.c.owner == owner, client_task_ids.c.name == name)
        abandoned = (client_task_ids.c.task_id == "", client_task_ids.c.created_at < now - CREATION_SECONDS)
        try:
            async with self._database.write() as connection:
                await connection.execute(delete(client_task_ids).where(*row, *abandoned))
                values = {"owner": owner, "name": name, "task_id": "", "created_at": now}
                await connection.execute(insert(client_task_ids).values(values))
        except IntegrityError:
            raise Conflict(f"There is a task {name!r} already.", hint="Choose another task_id.") from None

    async def assign(self, name: str, task_id: str) -> None:
        """Record which task has a reserved id."""
        async with self._database.write() as connection:
            row = (client_task_ids.c.owner == _owner(), client_task_ids.c.name == name)
            await connection.execute(update(client_task_ids).where(*row).values(task_id=task_id))

    async def release(self, name: str) -> None:
        """Give up an id of the caller."""
        async with self._database.write() as connection:
            row = (client_task_ids.c.owner == _owner(), client_task_ids.c.name == name)
            await connection.execute(delete(client_task_ids).where(*row))

    async def forget(self, task_id: str) -> None:
        """Give up the id of a task that is deleted or expired."""
        async with self._database.write() as connection:
            await connection.execute(delete(client_task_ids).where(client_task_ids.c.task_id == task_id))

    async def names(self) -> dict[str, str]:
        """Return the ids that the caller chose for its tasks by ours; of an admin, those of everybody."""
        where = [] if current_caller().sees_all else [client_task_ids.c.owner == _owner()]
        async with self._database.read() as connection:
            query = select(client_task_ids.c.task_id, client_task_ids.c.name).where(*where)
            return {row.task_id: row.name for row in (await connection.execute(query)).all()}

    async def find(self, name: str) -> str | None:
        """Return our id of a task that a client calls so, or None. Admins find those of everybody."""
        where: list[ColumnElement[bool]] = [client_task_ids.c.name == name, client_task_ids.c.task_id != ""]
        if not current_caller().sees_all:
            where.append(client_task_ids.c.owner == _owner())
        async with self._database.read() as connection:
            query = select(client_task_ids.c.task_id).where(*where).order_by(client_task_ids.c.created_at.desc())
            task_id: str | None = (await connection.execute(query.limit(1))).scalar()
        return task_id


def _owner() -> str:
    return current_caller().owner or ""
