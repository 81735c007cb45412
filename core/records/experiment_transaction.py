"""One experiment, its stages and its task, read, changed and written back in one transaction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Unpack

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from core.errors import ExperimentNotFound
from core.records.models.experiments import ExperimentChanges, ExperimentRecord
from core.records.models.stages import StageChanges, StageRecord
from core.records.models.tasks import TaskChanges, TaskRecord
from core.records.outbox import add_terminal_events
from core.records.queries import as_values, fetch_all, fetch_one
from core.records.tables import experiments, stages, tasks
from core.stages.status import StageStatus


class ExperimentTransaction:
    """What `ExperimentRepository.transaction` yields; an exception inside its block undoes every change."""

    def __init__(
        self, experiment: ExperimentRecord, runs: dict[str, StageRecord], task: TaskRecord | None, now: float
    ) -> None:
        self.experiment = experiment
        self.stages = runs
        """The stages that ever ran."""
        self.task = task
        self.now = now
        """Seconds since the epoch, the same for all that is written."""
        self._before = (experiment, dict(runs), task)

    def stage(self, name: str) -> StageRecord:
        """Return the newest run of a stage, pending when it never ran."""
        return self.stages.get(name) or StageRecord(self.experiment.id, name)

    @property
    def statuses(self) -> dict[str, StageStatus]:
        """The statuses of the stages that ever ran."""
        return {name: run.status for name, run in self.stages.items()}

    def set_stage(self, name: str, **values: Unpack[StageChanges]) -> StageRecord:
        """Change fields of a stage's newest run and return it."""
        self.stages[name] = replace(self.stage(name), **values)
        return self.stages[name]

    def set_task(self, **values: Unpack[TaskChanges]) -> None:
        """Change fields of the task; do nothing in expert mode."""
        if self.task is not None:
            self.task = replace(self.task, **values)

    def set_experiment(self, **values: Unpack[ExperimentChanges]) -> None:
        """Change fields of the experiment."""
        self.experiment = replace(self.experiment, **values)

    async def write(self, connection: AsyncConnection) -> None:
        """Write what differs from the records that were read, and the deliveries of what has ended."""
        experiment, runs, task = self._before
        for name, run in self.stages.items():
            if name not in runs:
                await connection.execute(insert(stages).values(as_values(run)))
            elif run != runs[name]:
                this_row = (stages.c.exp_id == run.exp_id, stages.c.stage == name)
                await connection.execute(update(stages).where(*this_row).values(_differences(runs[name], run)))
        if task is not None and self.task is not None and self.task != task:
            await connection.execute(update(tasks).where(tasks.c.id == task.id).values(_differences(task, self.task)))
        await add_terminal_events(connection, (task, runs), (self.task, self.stages), self.now, self.experiment.owner)
        if self.experiment != experiment:
            values = _differences(experiment, replace(self.experiment, updated_at=self.now))
            await connection.execute(update(experiments).where(experiments.c.id == experiment.id).values(values))


async def begin_experiment_transaction(connection: AsyncConnection, exp_id: str, now: float) -> ExperimentTransaction:
    """Read and lock an experiment, on PostgreSQL with a row lock; raise NotFound for an unknown id."""
    experiment = await fetch_one(connection, experiments, ExperimentRecord, experiments.c.id == exp_id, lock=True)
    if experiment is None:
        raise ExperimentNotFound(f"no experiment {exp_id!r}")
    runs = await fetch_all(connection, stages, StageRecord, stages.c.exp_id == exp_id)
    task = None
    if experiment.task_id is not None:
        task = await fetch_one(connection, tasks, TaskRecord, tasks.c.id == experiment.task_id)
    return ExperimentTransaction(experiment, {run.stage: run for run in runs}, task, now)


def _differences(before: Any, after: Any) -> dict[str, Any]:
    old = as_values(before)
    return {name: value for name, value in as_values(after).items() if value != old[name]}
