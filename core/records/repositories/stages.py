"""Stages of experiments: the newest run of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from sqlalchemy import String, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from core.access import current_caller
from core.errors import ExperimentNotFound
from core.records.batching import CallBatcher
from core.records.database import Database
from core.records.models.experiments import ExperimentRecord
from core.records.models.stages import StageRecord
from core.records.queries import fetch_all, fetch_one
from core.records.repositories.repository import Repository
from core.records.tables import experiments, stages, tasks
from core.stages.stage import STAGES
from core.stages.status import ACTIVE_STATUSES, StageStatus

ExperimentStageRecords: TypeAlias = tuple[ExperimentRecord, list[StageRecord]]


class StageRepository(Repository):
    """Records of stages; `ExperimentRepository.transaction` updates them.

    Calls of `with_experiment` that arrive at the same time share their round trips to the database.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._batcher: CallBatcher[str, ExperimentStageRecords] = CallBatcher(self._read_batch)

    async def with_experiment(self, exp_id: str) -> tuple[ExperimentRecord, list[StageRecord]]:
        """Return an experiment and every stage of its version; raise NotFound for an unknown id."""
        experiment, runs = await self._batcher(exp_id)
        if not current_caller().sees(experiment.owner):
            raise ExperimentNotFound(f"no experiment {exp_id!r}")
        return experiment, runs

    async def get(self, exp_id: str, stage: str) -> StageRecord:
        """Return the newest run of a stage, pending when it never ran; raise NotFound for an unknown experiment."""
        async with self._database.read() as connection:
            this_row = (stages.c.exp_id == exp_id, stages.c.stage == stage)
            run = await fetch_one(connection, stages, StageRecord, *this_row)
            if run is None:
                await _get_experiment(connection, exp_id)
        return run or StageRecord(exp_id, stage)

    async def of_experiment(self, exp_id: str) -> list[StageRecord]:
        """Return every stage of the experiment's model version in order, test_inference included."""
        async with self._database.read() as connection:
            experiment = await _get_experiment(connection, exp_id)
        return (await self.of_experiments([experiment]))[exp_id]

    async def of_experiments(self, records: Sequence[ExperimentRecord]) -> dict[str, list[StageRecord]]:
        """Return the stages of several experiments by their ids; pending where none ran."""
        ids = [experiment.id for experiment in records]
        async with self._database.read() as connection:
            return _by_experiment(records, await fetch_all(connection, stages, StageRecord, stages.c.exp_id.in_(ids)))

    async def active(
        self, limit: int, after: str = "", statuses: tuple[StageStatus, ...] = ACTIVE_STATUSES
    ) -> list[StageRecord]:
        """Return runs that should have a job in the queue, oldest experiment first; `after` is an experiment's id."""
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

    async def waiting_since(self, before: float, limit: int) -> list[StageRecord]:
        """Return queued runs of the model service's tasks that could have begun before a time, the oldest first."""
        of_service = select(tasks.c.exp_id).where(cast(tasks.c.labels, String) != "{}")
        async with self._database.read() as connection:
            return await fetch_all(
                connection,
                stages,
                StageRecord,
                stages.c.status == StageStatus.QUEUED,
                stages.c.queued_at < before,
                func.coalesce(stages.c.schedule_at, 0.0) < before,
                stages.c.exp_id.in_(of_service),
                order_by=stages.c.queued_at,
                limit=limit,
            )

    async def _read_batch(self, ids: list[str]) -> list[ExperimentStageRecords | Exception]:
        # The callers of a batch differ: each is checked in `with_experiment`.
        async with self._database.read() as connection:
            belongs = experiments.c.id.in_(set(ids))
            records = await fetch_all(connection, experiments, ExperimentRecord, belongs, of_everybody=True)
            of_batch = stages.c.exp_id.in_(set(ids))
            runs = await fetch_all(connection, stages, StageRecord, of_batch, of_everybody=True)
        by_id = {record.id: record for record in records}
        stages_by_id = _by_experiment(records, runs)
        return [
            (by_id[exp_id], stages_by_id[exp_id])
            if exp_id in by_id
            else ExperimentNotFound(f"no experiment {exp_id!r}")
            for exp_id in ids
        ]


def _by_experiment(records: Sequence[ExperimentRecord], runs: Sequence[StageRecord]) -> dict[str, list[StageRecord]]:
    """Return the stages of each experiment's version in order; pending where none ran."""
    by_name = {(run.exp_id, run.stage): run for run in runs}
    return {
        experiment.id: [
            by_name.get((experiment.id, name)) or StageRecord(experiment.id, name)
            for name, stage in STAGES.items()
            if experiment.version in stage.versions
        ]
        for experiment in records
    }


async def _get_experiment(connection: AsyncConnection, exp_id: str) -> ExperimentRecord:
    record = await fetch_one(connection, experiments, ExperimentRecord, experiments.c.id == exp_id)
    if record is None:
        raise ExperimentNotFound(f"no experiment {exp_id!r}")
    return record
