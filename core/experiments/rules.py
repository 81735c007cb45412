"""The rules of stage runs, on one experiment's records: what begins, what follows, what the task shows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from core.records import Change, ExperimentStatus, StageRecord, TaskStatus, iso
from core.stages.stage import (
    STAGES,
    StageStatus,
    dependents,
    order,
    overall_progress,
    parse_parameters,
    reads,
    ready,
    unmet,
)

WAITING_MESSAGE: Final = "Waiting for a worker."


def waiting_message(schedule_at: float | None, now: float) -> str:
    """What a run says until it is started."""
    return WAITING_MESSAGE if schedule_at is None or schedule_at <= now else f"Begins at {iso(schedule_at)}."


_SHOWN_FIRST: Final = (
    StageStatus.RUNNING,
    StageStatus.INTERRUPTED,
    StageStatus.QUEUED,
    StageStatus.PAUSED,
    StageStatus.FAILED,
)


def begin(change: Change, stage: str, config: dict[str, Any]) -> StageRecord:
    """Queue the next run of a stage; what was made from its last result becomes stale."""
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
        work_run=run,
        message=WAITING_MESSAGE,
        config=config,
        previous_run=previous,
        basis=_basis(change, stage),
        queued_at=change.now,
    )
    _forget_plan(change, (stage,))
    for other in dependents(stage):
        record = change.stage(other)
        # What was skipped was made from nothing.
        if record.status is StageStatus.COMPLETED and not record.outputs.get("skipped"):
            change.set_stage(other, status=StageStatus.STALE)
    return change.stages[stage]


def resume(change: Change, stage: str, config: dict[str, Any]) -> StageRecord:
    """Queue a run that goes on in the folder of the one that paused, with these parameters."""
    paused = change.stage(stage)
    changed = changes(change, paused, config)
    begin(change, stage, config)
    return change.set_stage(
        stage,
        work_run=paused.work_run,
        progress=paused.progress,
        metrics=paused.metrics,
        previous_run=paused.previous_run,
        device=paused.device,
        changed={**paused.changed, **changed},
    )


def choose(change: Change, run: StageRecord, device: str, schedule_at: float | None) -> StageRecord:
    """Where and when a queued run begins; an empty device leaves what it has."""
    return change.set_stage(
        run.stage,
        device=device or run.device,
        schedule_at=schedule_at,
        message=waiting_message(schedule_at, change.now),
    )


def changes(change: Change, paused: StageRecord, config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Name → `{before, now}` of whatever would differ if a paused run went on now."""
    before, now = paused.config | paused.basis, config | _basis(change, paused.stage)
    return {
        name: {"before": before.get(name), "now": now.get(name)}
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    }


def begin_planned(change: Change) -> list[StageRecord]:
    """Queue the stages of a preset whose turn has come."""
    begun: list[StageRecord] = []
    version = change.experiment.version
    while names := [name for name in change.experiment.planned if _turn_has_come(change, name, version)]:
        for name in names:
            begun += _begin_or_skip(change, name, change.experiment.planned[name])
    return begun


def give_up_plan(change: Change, stage: str) -> None:
    """The stage failed or was cancelled: what was to be made from its result does not begin by itself."""
    _forget_plan(change, dependents(stage))


def begin_ready(change: Change) -> list[StageRecord]:
    """Queue everything that a task can run now; what is switched off is completed on the spot."""
    begun: list[StageRecord] = []
    while names := ready(change.statuses, change.experiment.version):
        for name in names:
            config = parse_parameters(name, change.experiment.parameters.get(name, {}))
            begun += _begin_or_skip(change, name, config)
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
            stopped.append(cancel(change, run.stage))
    summarise(change)
    change.set_task(status=TaskStatus.CANCELLED, message="Cancelled.", completed_at=change.now)
    return stopped


def pause(change: Change, stage: str) -> StageRecord:
    """Nothing works on it any more, or should; what it learnt so far stays in its folder."""
    return change.set_stage(stage, status=StageStatus.PAUSED, message="Paused.", control="")


def cancel(change: Change, stage: str, message: str = "Cancelled.") -> StageRecord:
    """End a stage that waits, runs or pauses; its job is the caller's to cancel."""
    give_up_plan(change, stage)
    return change.set_stage(stage, status=StageStatus.CANCELLED, message=message, control="", completed_at=change.now)


def _begin_or_skip(change: Change, name: str, config: dict[str, Any]) -> list[StageRecord]:
    """What is switched off is completed on the spot and needs no job."""
    run = begin(change, name, config)
    if config.get("enabled", True):
        return [run]
    change.set_stage(
        name,
        status=StageStatus.COMPLETED,
        progress=1.0,
        message="Switched off.",
        outputs={"skipped": True},
        completed_at=change.now,
    )
    return []


def _turn_has_come(change: Change, stage: str, version: str) -> bool:
    if unmet(stage, change.statuses, version):
        return False
    before = reads(stage, version)
    return not any(name in change.experiment.planned or change.stage(name).status.active for name in before)


def _forget_plan(change: Change, stages: Collection[str]) -> None:
    planned = change.experiment.planned
    if any(name in planned for name in stages):
        change.set_experiment(planned={name: config for name, config in planned.items() if name not in stages})


def _basis(change: Change, stage: str) -> dict[str, Any]:
    experiment = change.experiment
    runs = {name: change.stage(name) for name in reads(stage, experiment.version)}
    read = {name: run.run for name, run in runs.items() if run.status is StageStatus.COMPLETED}
    return {"is_half": experiment.is_half, **read}


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
    if StageStatus.PAUSED in statuses:
        return ExperimentStatus.PAUSED
    if all(change.stage(name).status is StageStatus.COMPLETED for name in ("sovits_train", "gpt_train")):
        return ExperimentStatus.COMPLETED
    if StageStatus.FAILED in statuses:
        return ExperimentStatus.FAILED
    if StageStatus.CANCELLED in statuses:
        return ExperimentStatus.CANCELLED
    return ExperimentStatus.IDLE if change.stages else ExperimentStatus.CREATED
