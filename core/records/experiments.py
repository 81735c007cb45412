"""Records of experiments and of the stages they run."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from sqlalchemy import insert

from core.errors import NotFound
from core.records.base import Part
from core.records.change import Change, read_change
from core.records.database import as_values, fetch_all, fetch_one, fetch_page
from core.records.models import experiments, stages
from core.records.rows import ExperimentRecord, ExperimentStatus, Page, StageRecord
from core.stages.stage import STAGES
from core.stages.status import ACTIVE_STATUSES, StageStatus


class ExperimentRecords(Part):
    """Create, find, change and forget experiments."""

    async def create_experiment(self, record: ExperimentRecord) -> ExperimentRecord:
        async with self._database.write() as connection:
            await connection.execute(insert(experiments).values(as_values(record)))
        return record

    async def get_experiment(self, exp_id: str) -> ExperimentRecord:
        async with self._database.read() as connection:
            record = await fetch_one(connection, experiments, ExperimentRecord, experiments.c.id == exp_id)
        if record is None:
            raise NotFound(f"no experiment {exp_id!r}")
        return record

    async def list_experiments(
        self, limit: int = 50, offset: int = 0, status: ExperimentStatus | None = None
    ) -> Page[ExperimentRecord]:
        """All of them, those that tasks drive included (`task_id` tells)."""
        where = [] if status is None else [experiments.c.status == status]
        async with self._database.read() as connection:
            return await fetch_page(connection, experiments, ExperimentRecord, limit, offset, *where)

    async def update_experiment(self, exp_id: str, **values: Any) -> ExperimentRecord:
        """Change exp_name, gpu_numbers or is_half."""
        async with self.change(exp_id) as change:
            change.set_experiment(**values, updated_at=change.now)
        return change.experiment

    @contextlib.asynccontextmanager
    async def change(self, exp_id: str) -> AsyncIterator[Change]:
        """Look at an experiment with its stages and task and change them, all in one transaction."""
        async with self._database.write() as connection:
            change = await read_change(connection, exp_id, self._clock())
            yield change
            await change.write(connection)

    async def list_stages(self, exp_id: str) -> list[StageRecord]:
        """Every stage of its version in order, test_inference included; pending where none ran."""
        return (await self.stages_of([await self.get_experiment(exp_id)]))[exp_id]

    async def stages_of(self, some: Sequence[ExperimentRecord]) -> dict[str, list[StageRecord]]:
        """As `list_stages`, for several experiments by their ids."""
        async with self._database.read() as connection:
            runs = await fetch_all(connection, stages, StageRecord, stages.c.exp_id.in_([one.id for one in some]))
        by_name = {(run.exp_id, run.stage): run for run in runs}
        return {
            one.id: [
                by_name.get((one.id, name)) or StageRecord(one.id, name)
                for name, stage in STAGES.items()
                if one.version in stage.versions
            ]
            for one in some
        }

    async def get_stage(self, exp_id: str, stage: str) -> StageRecord:
        """The newest run of a stage; pending when it never ran."""
        async with self._database.read() as connection:
            this_row = (stages.c.exp_id == exp_id, stages.c.stage == stage)
            run = await fetch_one(connection, stages, StageRecord, *this_row)
        if run is None:
            await self.get_experiment(exp_id)
            return StageRecord(exp_id, stage)
        return run

    async def active_stages(
        self, limit: int, after: str = "", statuses: tuple[StageStatus, ...] = ACTIVE_STATUSES
    ) -> list[StageRecord]:
        """Runs that should have a job in the queue, oldest experiment first, those after this id."""
        async with self._database.read() as connection:
            return await fetch_all(
                connection,
                stages,
                StageRecord,
                stages.c.status.in_(statuses),
                stages.c.exp_id > after,
                order_by=stages.c.exp_id,
                limit=limit,
            )
