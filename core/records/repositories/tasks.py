"""Tasks (Quick mode). Calls that arrive at the same time share their round trips to the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Select, delete, func, insert, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.access import Caller, current_caller
from core.errors import NotFound, TaskNotFound
from core.records.batching import CallBatcher
from core.records.database import Database
from core.records.models.experiments import STEPWISE_DIALECT, ExperimentRecord, ExperimentStatus
from core.records.models.files import TEXT_MEDIA_TYPE
from core.records.models.page import Page
from core.records.models.stages import StageRecord
from core.records.models.tasks import UNDER_WAY, TaskRecord, TaskStatus
from core.records.queries import as_values, fetch_all, fetch_page, visible
from core.records.repositories.repository import Repository
from core.records.tables import experiments, files, stages, tasks
from core.stages.status import ACTIVE_STATUSES, StageStatus

_IDEMPOTENCY_KEY_SECONDS: Final = 86_400.0

_EXPERIMENT_STATUSES: Final[dict[TaskStatus, tuple[ExperimentStatus, ...]]] = {
    TaskStatus.QUEUED: (ExperimentStatus.CREATED,),
    TaskStatus.RUNNING: (ExperimentStatus.RUNNING,),
    TaskStatus.INTERRUPTED: (),
    TaskStatus.PAUSED: (ExperimentStatus.PAUSED,),
    TaskStatus.COMPLETED: (ExperimentStatus.COMPLETED, ExperimentStatus.IDLE),
    TaskStatus.FAILED: (ExperimentStatus.FAILED,),
    TaskStatus.CANCELLED: (ExperimentStatus.CANCELLED,),
}
"""The statuses of an experiment that is listed as a task, for each status of a task."""


@dataclass(frozen=True, slots=True)
class NewTaskRecords:
    """All records that are written when a task is created."""

    task: TaskRecord
    experiment: ExperimentRecord
    stage: StageRecord
    """The first stage, queued; the others are pending and have no row yet."""
    caller: Caller = field(default_factory=current_caller)
    """Who creates it: the tasks of several callers are written together."""


class TaskRepository(Repository):
    """Records of tasks; `ExperimentRepository.transaction` updates them."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._create_batcher: CallBatcher[NewTaskRecords, TaskRecord] = CallBatcher(self._create_batch)
        self._get_batcher: CallBatcher[str, TaskRecord] = CallBatcher(self._get_batch)

    async def create(self, new: NewTaskRecords) -> TaskRecord:
        """Write a task and return it, or the older task with the same idempotency key; raise NotFound for its file."""
        return await self._create_batcher(new)

    async def get(self, task_id: str) -> TaskRecord:
        """Return a task; raise NotFound for an unknown id."""
        task = await self._get_batcher(task_id)
        if not current_caller().sees(task.owner):
            raise TaskNotFound(f"no task {task_id!r}")
        return task

    async def page(
        self, limit: int = 50, offset: int = 0, status: TaskStatus | None = None, *, cursor: str = ""
    ) -> Page[TaskRecord]:
        """Return a page of tasks, newest first."""
        where = [] if status is None else [tasks.c.status == status]
        async with self._database.read() as connection:
            return await fetch_page(connection, tasks, TaskRecord, limit, offset, *where, cursor=cursor)

    async def page_with_experiments(
        self, limit: int = 50, offset: int = 0, statuses: Sequence[TaskStatus] = ()
    ) -> Page[TaskRecord | ExperimentRecord]:
        """Return a page of tasks and of experiments that a client of the eleven-step service runs, newest first.

        `statuses`: only those in one of them; none: all.
        """
        task_filter = [*visible(tasks), *([tasks.c.status.in_(statuses)] if statuses else [])]
        experiment_filter = [experiments.c.dialect == STEPWISE_DIALECT, *visible(experiments)]
        if statuses:
            of_experiments = [status for each in statuses for status in _EXPERIMENT_STATUSES[each]]
            experiment_filter.append(experiments.c.status.in_(of_experiments))
        async with self._database.read() as connection:
            count = select(func.count()).select_from(experiments).where(*experiment_filter)
            experiment_total = (await connection.execute(count)).scalar_one()
            if not experiment_total:
                page = await fetch_page(connection, tasks, TaskRecord, limit, offset, *task_filter)
                return Page(list(page.items), page.total)
            count = select(func.count()).select_from(tasks).where(*task_filter)
            task_total = (await connection.execute(count)).scalar_one()
            newest = union_all(
                _newest(tasks, task_filter, offset + limit), _newest(experiments, experiment_filter, offset + limit)
            ).subquery()
            query = select(newest.c.id).order_by(newest.c.made.desc(), newest.c.id.desc()).limit(limit).offset(offset)
            ids = list((await connection.execute(query)).scalars())
            records: dict[str, TaskRecord | ExperimentRecord] = {}
            for task in await fetch_all(connection, tasks, TaskRecord, tasks.c.id.in_(ids)):
                records[task.id] = task
            for experiment in await fetch_all(connection, experiments, ExperimentRecord, experiments.c.id.in_(ids)):
                records[experiment.id] = experiment
        return Page([records[id_] for id_ in ids if id_ in records], task_total + experiment_total)

    async def discard(self, new: NewTaskRecords) -> None:
        """Delete a task that never began, with its experiment."""
        async with self._database.write() as connection:
            await connection.execute(delete(experiments).where(experiments.c.id == new.experiment.id))

    async def stalled(self, limit: int) -> list[TaskRecord]:
        """Return tasks under way without a stage that is queued, running or paused: a process died between two."""
        busy = select(stages.c.stage).where(
            stages.c.exp_id == tasks.c.exp_id, stages.c.status.in_((*ACTIVE_STATUSES, StageStatus.PAUSED))
        )
        under_way = tasks.c.status.in_(UNDER_WAY)
        async with self._database.read() as connection:
            return await fetch_all(
                connection, tasks, TaskRecord, under_way, ~busy.exists(), order_by=tasks.c.id, limit=limit
            )

    async def _get_batch(self, ids: list[str]) -> list[TaskRecord | Exception]:
        async with self._database.read() as connection:
            # The callers of a batch differ: each is checked in `get`.
            records = await fetch_all(connection, tasks, TaskRecord, tasks.c.id.in_(set(ids)), of_everybody=True)
        by_id = {task.id: task for task in records}
        return [by_id.get(task_id) or TaskNotFound(f"no task {task_id!r}") for task_id in ids]

    async def _create_batch(self, batch: list[NewTaskRecords]) -> list[TaskRecord | Exception]:
        return await self._database.write_with_retry(lambda connection: _insert_tasks(connection, batch))


async def _insert_tasks(connection: AsyncConnection, batch: list[NewTaskRecords]) -> list[TaskRecord | Exception]:
    file_ids = {new.task.audio_file_id for new in batch}
    rows = await connection.execute(
        select(files.c.id, files.c.owner).where(files.c.id.in_(file_ids), files.c.media_type != TEXT_MEDIA_TYPE)
    )
    file_owners = {row.id: row.owner for row in rows}
    by_key = await _tasks_by_idempotency_key(connection, batch)
    results: list[TaskRecord | Exception] = []
    fresh: list[NewTaskRecords] = []
    for new in batch:
        key = new.task.idempotency_key
        if key is not None and key in by_key:
            results.append(by_key[key])
        elif (file_id := new.task.audio_file_id) is not None and (
            file_id not in file_owners or not new.caller.sees(file_owners[file_id])
        ):
            results.append(NotFound(f"no file {file_id!r}", hint="POST /api/v1/files uploads one."))
        else:
            if key is not None:
                by_key[key] = new.task
            fresh.append(new)
            results.append(new.task)
    if fresh:
        # Two processes that insert the same keys in the same order wait for each other; in different orders, forever.
        fresh.sort(key=lambda new: new.task.idempotency_key or "")
        await connection.execute(insert(experiments), [as_values(new.experiment) for new in fresh])
        await connection.execute(insert(tasks), [as_values(new.task) for new in fresh])
        await connection.execute(insert(stages), [as_values(new.stage) for new in fresh])
    return results


async def _tasks_by_idempotency_key(connection: AsyncConnection, batch: list[NewTaskRecords]) -> dict[str, TaskRecord]:
    """Return the existing tasks that have a key of this batch; keys that expired are released first."""
    keys = {new.task.idempotency_key for new in batch if new.task.idempotency_key is not None}
    if not keys:
        return {}
    # A key is valid for as long as its response is kept (core/jobs/idempotency.py).
    expired = batch[0].task.created_at - _IDEMPOTENCY_KEY_SECONDS
    release = update(tasks).where(tasks.c.idempotency_key.in_(keys), tasks.c.created_at < expired)
    await connection.execute(release.values(idempotency_key=None))
    same = tasks.c.idempotency_key.in_(keys)
    records = await fetch_all(connection, tasks, TaskRecord, same, of_everybody=True)
    return {task.idempotency_key: task for task in records if task.idempotency_key is not None}


def _newest(table: Any, where: list[Any], count: int) -> Select[Any]:
    """Select id and creation time of the newest rows by their index: ids begin with their time."""
    query = select(table.c.id, table.c.created_at.label("made")).where(*where)
    rows = query.order_by(table.c.id.desc()).limit(count).subquery()
    return select(rows.c.id, rows.c.made)
