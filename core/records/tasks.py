"""Records of tasks; the many that arrive or are read at once share their trips to the database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import NotFound
from core.records.base import Part
from core.records.database import Database, as_values, fetch_all, fetch_page
from core.records.gathering import Gathering
from core.records.models import experiments, files, stages, tasks
from core.records.rows import ExperimentRecord, Page, StageRecord, TaskRecord, TaskStatus
from core.stages.status import ACTIVE_STATUSES, StageStatus

_KEY_SECONDS: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class NewTask:
    """Everything that is written when a task begins."""

    task: TaskRecord
    experiment: ExperimentRecord
    stage: StageRecord
    """The first stage, queued; the others are pending and have no row yet."""


class TaskRecords(Part):
    """Create, find and list tasks; `ExperimentRecords.change` moves them on."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        super().__init__(database, clock)
        self._create_task: Gathering[NewTask, TaskRecord] = Gathering(self._create_tasks)
        self._get_task: Gathering[str, TaskRecord] = Gathering(self._get_tasks)

    async def create_task(self, new: NewTask) -> TaskRecord:
        """The task that holds: an older one when its idempotency key is known. NotFound: no such file."""
        return await self._create_task(new)

    async def get_task(self, task_id: str) -> TaskRecord:
        return await self._get_task(task_id)

    async def list_tasks(self, limit: int = 50, offset: int = 0, status: TaskStatus | None = None) -> Page[TaskRecord]:
        where = [] if status is None else [tasks.c.status == status]
        async with self._database.read() as connection:
            return await fetch_page(connection, tasks, TaskRecord, limit, offset, *where)

    async def undo_task(self, new: NewTask) -> None:
        """Forget a task that never began."""
        async with self._database.write() as connection:
            await connection.execute(delete(experiments).where(experiments.c.id == new.experiment.id))

    async def idle_tasks(self, limit: int) -> list[TaskRecord]:
        """Tasks under way of which no stage waits, runs or pauses: somebody died before moving them on."""
        busy = select(stages.c.stage).where(
            stages.c.exp_id == tasks.c.exp_id, stages.c.status.in_((*ACTIVE_STATUSES, StageStatus.PAUSED))
        )
        under_way = tasks.c.status.in_((TaskStatus.RUNNING, TaskStatus.INTERRUPTED))
        async with self._database.read() as connection:
            return await fetch_all(
                connection, tasks, TaskRecord, under_way, ~busy.exists(), order_by=tasks.c.id, limit=limit
            )

    async def _get_tasks(self, ids: list[str]) -> list[TaskRecord | Exception]:
        async with self._database.read() as connection:
            found = await fetch_all(connection, tasks, TaskRecord, tasks.c.id.in_(set(ids)))
        by_id = {task.id: task for task in found}
        return [by_id.get(task_id) or NotFound(f"no task {task_id!r}") for task_id in ids]

    async def _create_tasks(self, batch: list[NewTask]) -> list[TaskRecord | Exception]:
        return await self._database.write_alone(lambda connection: _insert_tasks(connection, batch))


async def _insert_tasks(connection: AsyncConnection, batch: list[NewTask]) -> list[TaskRecord | Exception]:
    known_files = await _known_files(connection, batch)
    by_key = await _by_idempotency_key(connection, batch)
    results: list[TaskRecord | Exception] = []
    fresh: list[NewTask] = []
    for new in batch:
        key = new.task.idempotency_key
        if key is not None and key in by_key:
            results.append(by_key[key])
        elif new.task.audio_file_id is not None and new.task.audio_file_id not in known_files:
            results.append(NotFound(f"no file {new.task.audio_file_id!r}", hint="POST /api/v1/files uploads one."))
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


async def _known_files(connection: AsyncConnection, batch: list[NewTask]) -> set[Any]:
    wanted = {new.task.audio_file_id for new in batch}
    return set((await connection.execute(select(files.c.id).where(files.c.id.in_(wanted)))).scalars())


async def _by_idempotency_key(connection: AsyncConnection, batch: list[NewTask]) -> dict[str, TaskRecord]:
    keys = {new.task.idempotency_key for new in batch if new.task.idempotency_key is not None}
    if not keys:
        return {}
    # Older ones are free again: a key holds for as long as its answer is remembered (core/jobs/idempotency.py).
    old = batch[0].task.created_at - _KEY_SECONDS
    free = update(tasks).where(tasks.c.idempotency_key.in_(keys), tasks.c.created_at < old)
    await connection.execute(free.values(idempotency_key=None))
    found = await fetch_all(connection, tasks, TaskRecord, tasks.c.idempotency_key.in_(keys))
    return {task.idempotency_key: task for task in found if task.idempotency_key is not None}
