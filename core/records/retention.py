"""Records of what has ended and may be thrown away, and how an experiment is forgotten."""

from __future__ import annotations

from sqlalchemy import String, cast, delete, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import Conflict
from core.records.base import Part
from core.records.change import read_change
from core.records.database import columns
from core.records.models import checkpoints, experiments, stages, tasks, voices
from core.records.rows import ExperimentRecord, ExperimentStatus, TaskStatus
from core.stages.status import ACTIVE_STATUSES, StageStatus


class RetentionRecords(Part):
    """Find what has ended, and forget it."""

    async def ended_experiments(
        self,
        limit: int,
        *,
        after: ExperimentRecord | None = None,
        before: float | None = None,
        of_tasks: bool | None = None,
    ) -> list[ExperimentRecord]:
        """Those of which nothing is under way or paused, the longest unchanged first; `after` is the last one seen.

        `before`: not changed since then. `of_tasks`: only those that tasks drive, or only those of experts.
        """
        busy = select(stages.c.stage).where(
            stages.c.exp_id == experiments.c.id, stages.c.status.in_((*ACTIVE_STATUSES, StageStatus.PAUSED))
        )
        goes_on = select(tasks.c.id).where(
            tasks.c.exp_id == experiments.c.id,
            tasks.c.status.in_([status for status in TaskStatus if not status.terminal]),
        )
        where = [~busy.exists(), ~goes_on.exists()]
        if after is not None:
            place = (after.updated_at, after.id)
            where.append(tuple_(experiments.c.updated_at, experiments.c.id) > tuple_(*place))
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

    async def experiment_ids(self) -> set[str]:
        """All there are."""
        async with self._database.read() as connection:
            return set((await connection.execute(select(experiments.c.id))).scalars())

    async def delete_experiment(self, exp_id: str) -> list[str]:
        """Forget it, its stages, its task and the checkpoints that nobody uses; the storage keys of their weights.

        Voices stay, and so do their checkpoints and those that were promoted. Conflict while a stage or its task is
        under way, or a voice speaks with a prompt in its folder.
        """
        async with self._database.write() as connection:
            change = await read_change(connection, exp_id, self._clock())
            active = [name for name, status in change.statuses.items() if status.active]
            if active:
                raise Conflict(f"experiment {exp_id} is running {', '.join(active)}", hint="Cancel it first.")
            if change.task is not None and not change.task.status.terminal:
                raise Conflict(f"task {change.task.id} drives experiment {exp_id}", hint="Cancel the task first.")
            await _need_no_prompts(connection, exp_id)
            keys = await _forget_checkpoints(connection, exp_id)
            await connection.execute(delete(experiments).where(experiments.c.id == exp_id))
        return keys


async def _need_no_prompts(connection: AsyncConnection, exp_id: str) -> None:
    """A published voice has copies of its prompts, so this is rare."""
    uses = cast(voices.c.prompts, String).like(f"%experiments/{exp_id}/%")
    names = (await connection.execute(select(voices.c.name).where(uses).limit(5))).scalars().all()
    if names:
        raise Conflict(f"experiment {exp_id} holds prompts of {', '.join(names)}", hint="Delete the voice first.")


async def _forget_checkpoints(connection: AsyncConnection, exp_id: str) -> list[str]:
    used = or_(voices.c.gpt_checkpoint_id == checkpoints.c.id, voices.c.sovits_checkpoint_id == checkpoints.c.id)
    unused = (
        checkpoints.c.exp_id == exp_id,
        checkpoints.c.promoted.is_(False),
        ~select(voices.c.id).where(used).exists(),
    )
    rows = (await connection.execute(select(checkpoints.c.id, checkpoints.c.storage_key).where(*unused))).all()
    await connection.execute(delete(checkpoints).where(checkpoints.c.id.in_([row.id for row in rows])))
    return [row.storage_key for row in rows]
