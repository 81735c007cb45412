"""The rules of stage runs, on one experiment's records: what begins, what follows, what the task shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from core.records import Change, ExperimentStatus, StageRecord, TaskStatus
from core.stage import STAGES, StageStatus, dependents, order, overall_progress, parse_parameters, ready

WAITING_MESSAGE: Final = "Waiting for a worker."
_SHOWN_FIRST: Final = (
    StageStatus.RUNNING,
    StageStatus.INTERRUPTED,
    StageStatus.QUEUED,
    StageStatus.PAUSED,
    StageStatus.FAILED,
)


def begin(change: Change, stage: str, config: dict[str, Any], *, work_run: int | None = None) -> StageRecord:
    """Queue the next run of a stage; what was made from its last result becomes stale.

    `work_run` names the earlier run in whose folder it goes on.
    """
    before = change.stage(stage)
    previous = before.previous_run
    if before.status in (StageStatus.COMPLETED, StageStatus.STALE):
        previous = {"run": before.run, "completed_at": before.completed_at, "outputs": before.outputs}
    run = before.run + 1
    change.stages[stage] = StageRecord(
        exp_id=change.experiment.id,
        stage=stage,
        status=StageStatus.QUEUED,
        run=run,
        work_run=work_run or run,
        message=WAITING_MESSAGE,
        config=config,
        previous_run=previous,
    )
    for other in dependents(stage):
        if change.stage(other).status is StageStatus.COMPLETED:
            change.set_stage(other, status=StageStatus.STALE)
    return change.stages[stage]


def begin_ready(change: Change) -> list[StageRecord]:
    """Queue everything that a task can run now; what is switched off is completed on the spot."""
    begun: list[StageRecord] = []
    while names := ready(change.statuses, change.experiment.version):
        for name in names:
            config = parse_parameters(name, change.experiment.parameters.get(name, {}))
            run = begin(change, name, config)
            if config.get("enabled", True):
                begun.append(run)
            else:
                change.set_stage(
                    name,
                    status=StageStatus.COMPLETED,
                    progress=1.0,
                    message="Switched off.",
                    outputs={"skipped": True},
                    completed_at=change.now,
                )
    return begun


def is_finished(change: Change) -> bool:
    """Whether every stage that a task runs is completed."""
    return all(change.stage(name).status is StageStatus.COMPLETED for name in order(change.experiment.version))


def how_far(stages: Mapping[str, StageRecord], version: str) -> float:
    """Overall progress, 0 to 1; an old result that has to be made anew counts as nothing."""
    return overall_progress(
        {name: run.progress for name, run in stages.items() if run.status is not StageStatus.STALE}, version
    )


def summarise(change: Change) -> None:
    """Let the task and the experiment show what their stages do."""
    shown = _shown_stage(change)
    if change.task is not None and not change.task.status.terminal:
        change.set_task(
            status=_task_status(change),
            current_stage=shown.stage,
            progress=shown.progress,
            overall_progress=how_far(change.stages, change.experiment.version),
            message=shown.message,
        )
    change.set_experiment(status=_experiment_status(change))


def cancel_everything(change: Change) -> list[StageRecord]:
    """End a task and every stage of it that has not ended; returns the runs whose jobs must stop."""
    stopped = []
    for run in list(change.stages.values()):
        if run.status.active or run.status is StageStatus.PAUSED:
            values = {"status": StageStatus.CANCELLED, "message": "Cancelled.", "completed_at": change.now}
            stopped.append(change.set_stage(run.stage, **values))
    summarise(change)
    change.set_task(status=TaskStatus.CANCELLED, message="Cancelled.", completed_at=change.now)
    return stopped


def _shown_stage(change: Change) -> StageRecord:
    """The first stage that runs, else was interrupted, waits, pauses or failed, else the last that ended."""
    runs = [change.stages[name] for name in STAGES if name in change.stages]
    for status in _SHOWN_FIRST:
        for run in runs:
            if run.status is status:
                return run
    ended = [run for run in runs if run.status is not StageStatus.PENDING]
    return ended[-1] if ended else change.stage(order(change.experiment.version)[0])


def _task_status(change: Change) -> TaskStatus:
    statuses = set(change.statuses.values())
    if StageStatus.RUNNING in statuses:
        return TaskStatus.RUNNING
    if StageStatus.INTERRUPTED in statuses:
        return TaskStatus.INTERRUPTED
    return TaskStatus.QUEUED if change.task is None or change.task.started_at is None else TaskStatus.RUNNING


def _experiment_status(change: Change) -> ExperimentStatus:
    statuses = set(change.statuses.values())
    if any(status.active for status in statuses):
        return ExperimentStatus.RUNNING
    if all(change.stage(name).status is StageStatus.COMPLETED for name in ("sovits_train", "gpt_train")):
        return ExperimentStatus.COMPLETED
    if StageStatus.FAILED in statuses:
        return ExperimentStatus.FAILED
    if StageStatus.CANCELLED in statuses:
        return ExperimentStatus.CANCELLED
    return ExperimentStatus.RUNNING if change.stages else ExperimentStatus.CREATED
