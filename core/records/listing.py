"""Tasks and experiments that are run step by step, in one list: clients of both know them as tasks."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Select, func, select, union_all

from core.records.base import Part
from core.records.database import fetch_all, fetch_page
from core.records.models import experiments, tasks
from core.records.rows import STEPS_DOOR, ExperimentRecord, ExperimentStatus, Page, TaskRecord, TaskStatus

_SAME: Final[dict[TaskStatus, tuple[ExperimentStatus, ...]]] = {
    TaskStatus.QUEUED: (ExperimentStatus.CREATED,),
    TaskStatus.RUNNING: (ExperimentStatus.RUNNING,),
    TaskStatus.INTERRUPTED: (ExperimentStatus.PAUSED,),
    TaskStatus.COMPLETED: (ExperimentStatus.COMPLETED, ExperimentStatus.IDLE),
    TaskStatus.FAILED: (ExperimentStatus.FAILED,),
    TaskStatus.CANCELLED: (ExperimentStatus.CANCELLED,),
}


class ListingRecords(Part):
    """One page over two tables."""

    async def list_all_tasks(
        self, limit: int = 50, offset: int = 0, status: TaskStatus | None = None
    ) -> Page[TaskRecord | ExperimentRecord]:
        """Newest first; an experiment stands for the task that its client runs step by step."""
        whole = [] if status is None else [tasks.c.status == status]
        stepped = [experiments.c.door == STEPS_DOOR]
        if status is not None:
            stepped.append(experiments.c.status.in_(_SAME[status]))
        async with self._database.read() as connection:
            by_steps = (
                await connection.execute(select(func.count()).select_from(experiments).where(*stepped))
            ).scalar_one()
            if not by_steps:
                page = await fetch_page(connection, tasks, TaskRecord, limit, offset, *whole)
                return Page(list(page.items), page.total)
            total = (await connection.execute(select(func.count()).select_from(tasks).where(*whole))).scalar_one()
            newest = union_all(
                _newest(tasks, whole, offset + limit), _newest(experiments, stepped, offset + limit)
            ).subquery()
            query = select(newest.c.id).order_by(newest.c.made.desc(), newest.c.id.desc()).limit(limit).offset(offset)
            ids = list((await connection.execute(query)).scalars())
            found: dict[str, TaskRecord | ExperimentRecord] = {}
            for one in await fetch_all(connection, tasks, TaskRecord, tasks.c.id.in_(ids)):
                found[one.id] = one
            for other in await fetch_all(connection, experiments, ExperimentRecord, experiments.c.id.in_(ids)):
                found[other.id] = other
        return Page([found[id_] for id_ in ids if id_ in found], total + by_steps)


def _newest(table: Any, where: list[Any], count: int) -> Select[Any]:
    """Ids begin with their time, so the newest are found by their index."""
    first = select(table.c.id, table.c.created_at.label("made")).where(*where)
    part = first.order_by(table.c.id.desc()).limit(count).subquery()
    return select(part.c.id, part.c.made)
