"""Experiments, and transactions over an experiment with its stages and its task."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection
from typing import Unpack

from sqlalchemy import String, cast, delete, insert, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from common import storage_keys
from core.errors import Conflict, ExperimentNotFound, NotFound
from core.records.experiment_transaction import ExperimentTransaction, begin_experiment_transaction
from core.records.models.experiments import ExperimentChanges, ExperimentRecord, ExperimentStatus
from core.records.models.files import TEXT_MEDIA_TYPE, FileRecord
from core.records.models.page import Page
from core.records.models.tasks import TaskStatus
from core.records.queries import as_values, columns, fetch_all, fetch_one, fetch_page, find_created
from core.records.repositories.repository import Repository
from core.records.tables import checkpoints, experiments, files, stages, tasks, voices
from core.stages.status import ACTIVE_STATUSES, StageStatus


class ExperimentRepository(Repository):
    """Records of experiments."""

    async def create(self, record: ExperimentRecord) -> ExperimentRecord:
        """Insert an experiment; raise NotFound for a recording that it may not see."""
        async with self._database.write() as connection:
            if existing := await find_created(connection, experiments, ExperimentRecord, record.id):
                return existing
            if record.audio_file_id is not None:
                is_recording = (files.c.id == record.audio_file_id, files.c.media_type != TEXT_MEDIA_TYPE)
                file = await fetch_one(connection, files, FileRecord, *is_recording)
                if file is None:
                    raise NotFound(f"no file {record.audio_file_id!r}", hint="POST /api/v1/files uploads one.")
            await connection.execute(insert(experiments).values(as_values(record)))
        return record

    async def get(self, exp_id: str) -> ExperimentRecord:
        """Return an experiment; raise NotFound for an unknown id."""
        async with self._database.read() as connection:
            record = await fetch_one(connection, experiments, ExperimentRecord, experiments.c.id == exp_id)
        if record is None:
            raise ExperimentNotFound(f"no experiment {exp_id!r}")
        return record

    async def of_ids(self, ids: Collection[str]) -> dict[str, ExperimentRecord]:
        """Return experiments by their ids, without those that do not exist."""
        async with self._database.read() as connection:
            records = await fetch_all(connection, experiments, ExperimentRecord, experiments.c.id.in_(ids))
        return {record.id: record for record in records}

    async def page(
        self, limit: int = 50, offset: int = 0, status: ExperimentStatus | None = None, *, cursor: str = ""
    ) -> Page[ExperimentRecord]:
        """Return a page of experiments, newest first, those of tasks (with a `task_id`) included."""
        where = [] if status is None else [experiments.c.status == status]
        async with self._database.read() as connection:
            return await fetch_page(connection, experiments, ExperimentRecord, limit, offset, *where, cursor=cursor)

    async def update(self, exp_id: str, **values: Unpack[ExperimentChanges]) -> ExperimentRecord:
        """Change exp_name, gpu_numbers or is_half."""
        async with self.transaction(exp_id) as change:
            change.set_experiment(**values)
            change.set_experiment(updated_at=change.now)
        return change.experiment

    @contextlib.asynccontextmanager
    async def transaction(self, exp_id: str) -> AsyncIterator[ExperimentTransaction]:
        """Read an experiment with its stages and its task, and write what the block changes, in one transaction."""
        async with self._database.write() as connection:
            change = await begin_experiment_transaction(connection, exp_id, self._database.now())
            yield change
            await change.write(connection)

    async def ended(
        self,
        limit: int,
        *,
        after: ExperimentRecord | None = None,
        before: float | None = None,
        of_tasks: bool | None = None,
    ) -> list[ExperimentRecord]:
        """Return experiments without a stage or task under way or paused, the longest unchanged first.

        `after` is the last one of the page before. `before`: only those not changed since then. `of_tasks`: only those
        that belong to tasks, or only those of expert mode.
        """
        busy = select(stages.c.stage).where(
            stages.c.exp_id == experiments.c.id, stages.c.status.in_((*ACTIVE_STATUSES, StageStatus.PAUSED))
        )
        unfinished_task = select(tasks.c.id).where(
            tasks.c.exp_id == experiments.c.id,
            tasks.c.status.in_([status for status in TaskStatus if not status.terminal]),
        )
        where = [~busy.exists(), ~unfinished_task.exists()]
        if after is not None:
            position = tuple_(after.updated_at, after.id)
            where.append(tuple_(experiments.c.updated_at, experiments.c.id) > position)
        if before is not None:
            where.append(experiments.c.updated_at < before)
        if of_tasks is not None:
            where.append(experiments.c.task_id.is_not(None) if of_tasks else experiments.c.task_id.is_(None))
        where.append(experiments.c.status.not_in((ExperimentStatus.RUNNING, ExperimentStatus.PAUSED)))
        query = (
            select(*columns(experiments, ExperimentRecord))
            .where(*where)
            .order_by(experiments.c.updated_at, experiments.c.id)
            .limit(limit)
        )
        async with self._database.read() as connection:
            return [ExperimentRecord(*row) for row in (await connection.execute(query)).all()]

    async def ids(self) -> set[str]:
        """Return the ids of all experiments."""
        async with self._database.read() as connection:
            return set((await connection.execute(select(experiments.c.id))).scalars())

    async def delete(self, exp_id: str) -> list[str]:
        """Delete an experiment with its stages, task and unused checkpoints; return the storage keys of their weights.

        Voices stay, and so do their checkpoints and promoted ones. Raise Conflict while a stage or the task is under
        way, or while a voice has a prompt in the experiment's folder.
        """
        async with self._database.write() as connection:
            change = await begin_experiment_transaction(connection, exp_id, self._database.now())
            active = [name for name, status in change.statuses.items() if status.active]
            if active:
                raise Conflict(f"experiment {exp_id} is running {', '.join(active)}", hint="Cancel it first.")
            if change.task is not None and not change.task.status.terminal:
                raise Conflict(f"task {change.task.id} drives experiment {exp_id}", hint="Cancel the task first.")
            # A published voice has copies of its prompts, so this is rare.
            has_prompt_here = cast(voices.c.prompts, String).like(f"%{storage_keys.experiment_folder(exp_id)}/%")
            query = select(voices.c.name).where(has_prompt_here).limit(5)
            names = (await connection.execute(query)).scalars().all()
            if names:
                raise Conflict(
                    f"experiment {exp_id} holds prompts of {', '.join(names)}", hint="Delete the voice first."
                )
            keys = await _delete_unused_checkpoints(connection, exp_id)
            await connection.execute(delete(experiments).where(experiments.c.id == exp_id))
        return keys


async def _delete_unused_checkpoints(connection: AsyncConnection, exp_id: str) -> list[str]:
    used = or_(voices.c.gpt_checkpoint_id == checkpoints.c.id, voices.c.sovits_checkpoint_id == checkpoints.c.id)
    unused = (
        checkpoints.c.exp_id == exp_id,
        checkpoints.c.promoted.is_(False),
        ~select(voices.c.id).where(used).exists(),
    )
    rows = (await connection.execute(select(checkpoints.c.id, checkpoints.c.storage_key).where(*unused))).all()
    await connection.execute(delete(checkpoints).where(checkpoints.c.id.in_([row.id for row in rows])))
    return [row.storage_key for row in rows]
