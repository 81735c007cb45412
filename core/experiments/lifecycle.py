"""Rules of stage runs, applied to the records of one experiment inside a transaction (`ExperimentTransaction`).

They decide which runs are queued and what the experiment and its task show. They touch neither queue nor events:
callers enqueue the returned runs and cancel the jobs of the returned ones after the transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from typing_extensions import TypedDict

from common.progress_messages import progress_message
from core.errors import ErrorData, error_message
from core.records import ExperimentStatus, ExperimentTransaction, StageRecord, TaskRecord, TaskStatus, iso
from core.stages.order import dependent_stages, overall_progress, ready_stages, stage_inputs, stage_order, unmet_needs
from core.stages.parameter_schema import parse_parameters
from core.stages.parameters import StageConfig
from core.stages.stage import STAGES
from core.stages.status import StageStatus

WAITING_MESSAGE: Final = progress_message("waiting")
CANCELLED_MESSAGE: Final = progress_message("cancelled")
IMPLICIT: Final = "implicit"
"""In the basis of a run: it was begun by itself, for a stage that needs it."""
SHOWN_FIRST: Final = (
    StageStatus.RUNNING,
    StageStatus.INTERRUPTED,
    StageStatus.QUEUED,
    StageStatus.PAUSED,
    StageStatus.FAILED,
)
"""A task shows its first stage in one of these statuses, in this order."""


class Difference(TypedDict):
    """A parameter or input of a paused run, and what it would be if the run resumed now."""

    before: object
    now: object


def waiting_message(schedule_at: float | None, now: float) -> str:
    """Return the message of a run that has not started."""
    if schedule_at is None or schedule_at <= now:
        return WAITING_MESSAGE
    return progress_message("begins_at", time=iso(schedule_at))


def open_task(transaction: ExperimentTransaction) -> TaskRecord | None:
    """Return the task that runs the stages; None in expert mode, and once it has ended."""
    task = transaction.task
    return None if task is None or task.status.terminal else task


def queue_run(transaction: ExperimentTransaction, stage: str, config: StageConfig) -> StageRecord:
    """Record the next run of a stage as queued; completed stages made from its last result become stale."""
    before = transaction.stage(stage)
    previous = before.previous_run
    if before.status in (StageStatus.COMPLETED, StageStatus.STALE):
        previous = {"run": before.run, "completed_at": before.completed_at, "outputs": before.outputs}
    run = before.run + 1
    transaction.stages[stage] = StageRecord(
        exp_id=transaction.experiment.id,
        stage=stage,
        status=StageStatus.QUEUED,
        run=run,
        work_run=run,
        message=WAITING_MESSAGE,
        config=config,
        previous_run=previous,
        basis=inputs_of(transaction, stage),
        queued_at=transaction.now,
    )
    remove_planned(transaction, (stage,))
    for dependent in dependent_stages(stage):
        record = transaction.stage(dependent)
        # A skipped stage read nothing, so its result cannot be out of date.
        if record.status is StageStatus.COMPLETED and not record.outputs.get("skipped"):
            transaction.set_stage(dependent, status=StageStatus.STALE)
    return transaction.stages[stage]


def queue_prerequisites(transaction: ExperimentTransaction, stage: str) -> list[StageRecord]:
    """Queue what a stage reads, is not completed, and clients of the tasks service do not know; return what it awaits.

    A run that is under way already is awaited as well.
    """
    awaited: list[StageRecord] = []
    version = transaction.experiment.version
    unmet = unmet_needs(stage, transaction.statuses, version)
    for name in stage_inputs(stage, version):
        if STAGES[name].known_to_clients or not (name in unmet or transaction.stage(name).status.active):
            continue
        record = transaction.stage(name)
        if not record.status.active:
            before = queue_prerequisites(transaction, name)
            config = record.config or parse_parameters(name, transaction.experiment.parameters.get(name, {}))
            if not queue_or_skip(transaction, name, config):
                continue
            record = await_runs(transaction, name, before)
            record = transaction.set_stage(name, basis={**record.basis, IMPLICIT: True})
            awaited += before
        awaited.append(record)
    return awaited


def await_runs(transaction: ExperimentTransaction, stage: str, awaited: list[StageRecord]) -> StageRecord:
    """Let a queued run begin after others: its job depends on theirs."""
    record = transaction.stage(stage)
    if not awaited:
        return record
    return transaction.set_stage(
        stage,
        basis={**record.basis, **{run.stage: run.run for run in awaited}},
        message=progress_message("waits_for", stages=", ".join(run.stage for run in awaited)),
    )


def unfinished_prerequisites(transaction: ExperimentTransaction, run: StageRecord) -> list[StageRecord]:
    """Return the runs that a run was to begin after and that are not completed."""
    return [
        transaction.stage(name)
        for name in run.basis
        if name in STAGES
        and not STAGES[name].known_to_clients
        and transaction.stage(name).status is not StageStatus.COMPLETED
    ]


def waiting_runs(transaction: ExperimentTransaction, stage: str) -> list[StageRecord]:
    """Return the queued runs that begin after the newest run of a stage."""
    number = transaction.stage(stage).run
    return [
        run
        for run in transaction.stages.values()
        if run.status is StageStatus.QUEUED and not STAGES[stage].known_to_clients and run.basis.get(stage) == number
    ]


def cancel_prerequisites(transaction: ExperimentTransaction, run: StageRecord) -> list[StageRecord]:
    """Cancel what was begun by itself for a run that is cancelled now, unless another one needs it; return these."""
    cancelled: list[StageRecord] = []
    for record in unfinished_prerequisites(transaction, run):
        if record.status.active and record.basis.get(IMPLICIT) and not waiting_runs(transaction, record.stage):
            cancelled.append(cancel_run(transaction, record.stage))
            cancelled += cancel_prerequisites(transaction, record)
    return cancelled


def queue_resumed_run(transaction: ExperimentTransaction, stage: str, config: StageConfig) -> StageRecord:
    """Record a run as queued that continues in the folder of the paused one, with these parameters."""
    paused = transaction.stage(stage)
    differences = differences_since_pause(transaction, paused, config)
    queue_run(transaction, stage, config)
    return transaction.set_stage(
        stage,
        work_run=paused.work_run,
        progress=paused.progress,
        metrics=paused.metrics,
        previews=paused.previews,
        previous_run=paused.previous_run,
        device=paused.device,
        changed={**paused.changed, **differences},
    )


def differences_since_pause(
    transaction: ExperimentTransaction, paused: StageRecord, config: StageConfig
) -> dict[str, Difference]:
    """Return name → `{before, now}` of the parameters and inputs that differ if a paused run resumes with `config`."""
    before, now = paused.config | paused.basis, config | inputs_of(transaction, paused.stage)
    return {
        name: {"before": before.get(name), "now": now.get(name)}
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    }


def inputs_of(transaction: ExperimentTransaction, stage: str) -> dict[str, bool | int]:
    """Return what a run begun now would read beside its parameters: `is_half`, and the run of each stage it reads."""
    experiment = transaction.experiment
    runs = {name: transaction.stage(name) for name in stage_inputs(stage, experiment.version)}
    completed = {name: run.run for name, run in runs.items() if run.status is StageStatus.COMPLETED}
    return {"is_half": experiment.is_half, **completed}


def queue_next(transaction: ExperimentTransaction) -> tuple[list[StageRecord], bool]:
    """Queue what can run now: every ready stage of a running task, else the planned stages of an expert.

    Returns the runs to enqueue, and whether a running task has completed all its stages.
    """
    runs_task = open_task(transaction) is not None
    queued = queue_ready(transaction) if runs_task else queue_planned(transaction)
    update_summary(transaction)
    stages = stage_order(transaction.experiment.version)
    return queued, runs_task and all(transaction.stage(name).status is StageStatus.COMPLETED for name in stages)


def queue_ready(transaction: ExperimentTransaction) -> list[StageRecord]:
    """Queue every stage that a task can run now and return the runs; disabled stages are completed at once."""
    queued: list[StageRecord] = []
    while names := ready_stages(transaction.statuses, transaction.experiment.version):
        for name in names:
            config = parse_parameters(name, transaction.experiment.parameters.get(name, {}))
            queued += queue_or_skip(transaction, name, config)
    return queued


def queue_planned(transaction: ExperimentTransaction) -> list[StageRecord]:
    """Queue the planned stages whose inputs are complete and not about to be made anew; return the runs."""
    queued: list[StageRecord] = []
    version = transaction.experiment.version

    def can_start(stage: str) -> bool:
        if unmet_needs(stage, transaction.statuses, version):
            return False
        inputs = stage_inputs(stage, version)
        return not any(
            name in transaction.experiment.planned or transaction.stage(name).status.active for name in inputs
        )

    while names := [name for name in transaction.experiment.planned if can_start(name)]:
        for name in names:
            queued += queue_or_skip(transaction, name, transaction.experiment.planned[name])
    return queued


def queue_or_skip(transaction: ExperimentTransaction, stage: str, config: StageConfig) -> list[StageRecord]:
    """Queue a run and return it; complete a disabled stage at once, without a run to enqueue."""
    run = queue_run(transaction, stage, config)
    if config.get("enabled", True):
        return [run]
    transaction.set_stage(
        stage,
        status=StageStatus.COMPLETED,
        progress=1.0,
        message=progress_message("switched_off"),
        outputs={"skipped": True},
        completed_at=transaction.now,
    )
    return []


def remove_planned(transaction: ExperimentTransaction, stages: Collection[str]) -> None:
    """Let these stages no longer begin by themselves."""
    planned = transaction.experiment.planned
    if any(name in planned for name in stages):
        transaction.set_experiment(planned={name: config for name, config in planned.items() if name not in stages})


def pause_run(transaction: ExperimentTransaction, stage: str) -> StageRecord:
    """Record a run as paused; its folder keeps what it has trained so far."""
    return transaction.set_stage(stage, status=StageStatus.PAUSED, message=progress_message("paused"), control="")


def cancel_run(transaction: ExperimentTransaction, stage: str, message: str = CANCELLED_MESSAGE) -> StageRecord:
    """Record a waiting, running or paused run as cancelled, with the runs that wait for it.

    Planned stages that depend on it do not begin.
    """
    remove_planned(transaction, dependent_stages(stage))
    for waiting in waiting_runs(transaction, stage):
        cancel_run(transaction, waiting.stage, message)
    return transaction.set_stage(
        stage, status=StageStatus.CANCELLED, message=message, control="", completed_at=transaction.now
    )


def fail_run(transaction: ExperimentTransaction, stage: str, error: ErrorData) -> StageRecord:
    """Record a run as failed, with the runs that wait for it; planned stages that depend on it do not begin."""
    remove_planned(transaction, dependent_stages(stage))
    for waiting in waiting_runs(transaction, stage):
        fail_run(transaction, waiting.stage, error)
    return transaction.set_stage(
        stage,
        status=StageStatus.FAILED,
        message=error_message(error),
        error=error,
        control="",
        completed_at=transaction.now,
    )


def cancel_open_runs(transaction: ExperimentTransaction) -> list[StageRecord]:
    """Record every run that waits, runs or is paused as cancelled and return them."""
    runs = [run for run in transaction.stages.values() if run.status.active or run.status is StageStatus.PAUSED]
    cancelled = [cancel_run(transaction, run.stage) for run in runs]
    update_summary(transaction)
    return cancelled


def cancel_task(transaction: ExperimentTransaction) -> list[StageRecord]:
    """Record a task and its open runs as cancelled and return the runs."""
    cancelled = cancel_open_runs(transaction)
    transaction.set_task(status=TaskStatus.CANCELLED, message=CANCELLED_MESSAGE, completed_at=transaction.now)
    return cancelled


def fail_task(transaction: ExperimentTransaction, error: ErrorData) -> list[StageRecord]:
    """Record an unfinished task as failed, cancel its other active runs and return them."""
    if open_task(transaction) is None:
        return []
    runs = [run for run in transaction.stages.values() if run.status.active]
    for run in runs:
        cancel_run(transaction, run.stage, progress_message("task_failed"))
    update_summary(transaction)
    transaction.set_task(
        status=TaskStatus.FAILED, error=error, message=error_message(error), completed_at=transaction.now
    )
    return runs


def experiment_progress(stages: Mapping[str, StageRecord], version: str) -> float:
    """Return the overall progress, 0 to 1; stale results count as 0."""
    return overall_progress(
        {name: run.progress for name, run in stages.items() if run.status is not StageStatus.STALE}, version
    )


def update_summary(transaction: ExperimentTransaction) -> None:
    """Derive the status of the experiment, and status, stage, progress and message of its task, from the runs."""
    transaction.set_experiment(status=experiment_status(transaction))
    task = open_task(transaction)
    if task is None:
        return
    statuses = set(transaction.statuses.values())
    if StageStatus.RUNNING in statuses:
        status = TaskStatus.RUNNING
    elif StageStatus.INTERRUPTED in statuses:
        status = TaskStatus.INTERRUPTED
    elif StageStatus.PAUSED in statuses and StageStatus.QUEUED not in statuses:
        status = TaskStatus.PAUSED
    else:
        status = TaskStatus.QUEUED if task.started_at is None else TaskStatus.RUNNING
    shown = shown_run(transaction)
    transaction.set_task(
        status=status,
        current_stage=shown.stage,
        progress=shown.progress,
        overall_progress=experiment_progress(transaction.stages, transaction.experiment.version),
        message=shown.message,
    )


def shown_run(transaction: ExperimentTransaction) -> StageRecord:
    """Return the run that a task shows: the first by `SHOWN_FIRST`, else the last that ended, else the first stage."""
    runs = [transaction.stages[name] for name in STAGES if name in transaction.stages]
    for status in SHOWN_FIRST:
        for run in runs:
            if run.status is status:
                return run
    ended = [run for run in runs if run.status is not StageStatus.PENDING]
    return ended[-1] if ended else transaction.stage(stage_order(transaction.experiment.version)[0])


def experiment_status(transaction: ExperimentTransaction) -> ExperimentStatus:
    """Return the status of an experiment by those of its stages."""
    statuses = set(transaction.statuses.values())
    if any(status.active for status in statuses):
        return ExperimentStatus.RUNNING
    if StageStatus.PAUSED in statuses:
        return ExperimentStatus.PAUSED
    if all(transaction.stage(name).status is StageStatus.COMPLETED for name in ("sovits_train", "gpt_train")):
        return ExperimentStatus.COMPLETED
    if StageStatus.FAILED in statuses:
        return ExperimentStatus.FAILED
    if StageStatus.CANCELLED in statuses:
        return ExperimentStatus.CANCELLED
    return ExperimentStatus.IDLE if transaction.stages else ExperimentStatus.CREATED
