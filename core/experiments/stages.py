"""Expert mode: run, resume, pause, stop and cancel single stages, and presets that run several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from core.creation import began_earlier_at
from core.errors import ConfirmationNeeded, Conflict, InvalidParameter, InvalidRequest, QueueUnavailable, QuotaExceeded
from core.experiments.lifecycle import (
    await_runs,
    cancel_open_runs,
    cancel_prerequisites,
    cancel_run,
    differences_since_pause,
    open_task,
    pause_run,
    queue_planned,
    queue_prerequisites,
    queue_resumed_run,
    queue_run,
    update_summary,
    waiting_message,
    waiting_runs,
)
from core.experiments.model_versions import ModelVersions
from core.experiments.named_weights import check_named_weights
from core.experiments.run_jobs import RunJobs
from core.records import STEPWISE_DIALECT, ExperimentRecord, ExperimentTransaction, Records, StageRecord
from core.stages.order import dependent_stages, stage_inputs, stage_order, unmet_needs, with_prerequisites
from core.stages.parameter_schema import parse_parameters
from core.stages.parameters import StageConfig, StageOverrides
from core.stages.presets import find_preset
from core.stages.stage import STAGES, find_stage
from core.stages.status import StageStatus

CONTROLS: Final = ("stop_after_epoch", "pause", "resume")


class ExperimentStages:
    """Runs the stages of experiments. A stage is named by its name or its alias."""

    def __init__(self, records: Records, jobs: RunJobs, versions: ModelVersions) -> None:
        self.records = records
        self.jobs = jobs
        self.versions = versions

    async def run(
        self,
        exp_id: str,
        stage: str,
        parameters: Mapping[str, object] | None = None,
        *,
        confirm: bool = False,
        device: str | None = None,
        schedule_at: float | None = None,
    ) -> StageRecord:
        """Run a stage with parameters over the defaults, again if it is completed; resume a paused one.

        `device` (`cuda`, `cuda:N`, `cpu`) is for trainings; `schedule_at`: seconds since the epoch.

        Raises:
            InvalidRequest: names unmet needs.
            InvalidParameter: names what is out of range.
            MissingWeights: the official weights that it loads are not installed.
            Conflict: the stage, or one that reads its result, is under way.
            ConfirmationNeeded: a paused run would go on with other parameters or inputs.
        """
        name = find_stage(stage).name
        device = await self.jobs.check_device(device)
        await self._check_weights(name, parameters)
        await self.jobs.wait_until_stopped(await self.records.stages.get(exp_id, name))
        weights = await self.versions.read()
        async with self.records.experiments.transaction(exp_id) as transaction:
            if _is_repeated(transaction.stage(name)):
                return transaction.stage(name)
            _check_can_run(transaction, name)
            config = _stage_config(transaction, name, parameters)
            awaited = queue_prerequisites(transaction, name) if _prerequisites_run_by_themselves(transaction) else []
            if transaction.stage(name).status is StageStatus.PAUSED:
                run = _queue_resumed(transaction, name, parameters, confirm=confirm)
            else:
                configs = {other.stage: other.config for other in awaited} | {name: config}
                weights.check_stages(transaction.experiment, configs)
                run = queue_run(transaction, name, config)
            transaction.set_stage(
                name,
                device=device or run.device,
                schedule_at=schedule_at,
                message=waiting_message(schedule_at, transaction.now),
            )
            run = await_runs(transaction, name, awaited)
            begun = [other for other in awaited if other.queued_at == transaction.now]
            begun = [transaction.set_stage(other.stage, schedule_at=schedule_at) for other in begun]
            update_summary(transaction)
        await self._enqueue_or_fail(transaction.experiment, *begun, run, awaited=awaited)
        return run

    async def run_preset(self, exp_id: str, preset: str, parameters: StageOverrides | None = None) -> list[StageRecord]:
        """Run a preset's stages, each as soon as its inputs are complete, and return the runs that begin at once.

        `parameters`: stage → parameters over the defaults. Raises as `run` does, before anything begins.
        """
        preset_stages = find_preset(preset).stages
        values = {find_stage(stage).name: stage_values for stage, stage_values in (parameters or {}).items()}
        weights = await self.versions.read()
        for stage, stage_values in values.items():
            await self._check_weights(stage, stage_values)
        async with self.records.experiments.transaction(exp_id) as transaction:
            if repeated := [run for run in transaction.stages.values() if _is_repeated(run)]:
                return repeated
            names = with_prerequisites(preset_stages, transaction.experiment.version, transaction.statuses)
            if unused := [name for name in values if name not in names]:
                raise InvalidParameter(
                    f"{preset} does not run {', '.join(unused)}",
                    hint=f"Its stages: {', '.join(names)}.",
                    details={"parameters": unused},
                )
            for name in names:
                _check_can_run(transaction, name, planned=names)
            configs = {name: _stage_config(transaction, name, values.get(name)) for name in names}
            weights.check_stages(transaction.experiment, configs)
            transaction.set_experiment(planned=configs)
            runs = queue_planned(transaction)
            update_summary(transaction)
        await self._enqueue_or_fail(transaction.experiment, *runs)
        return runs

    async def run_or_plan(self, exp_id: str, stage: str, parameters: Mapping[str, object] | None = None) -> StageRecord:
        """Run a stage, or plan it while the stages that it reads are under way: it then begins after them."""
        name = find_stage(stage).name
        weights = await self.versions.read()
        await self._check_weights(name, parameters)
        async with self.records.experiments.transaction(exp_id) as transaction:
            version = transaction.experiment.version
            coming = {other for other, status in transaction.statuses.items() if status.active}
            coming |= transaction.experiment.planned.keys()
            needs_come = coming.issuperset(unmet_needs(name, transaction.statuses, version))
            input_comes = not coming.isdisjoint(stage_inputs(name, version))
            if needs_come and input_comes and not transaction.stage(name).status.active:
                config = _stage_config(transaction, name, parameters)
                weights.check_stages(transaction.experiment, {name: config})
                transaction.set_experiment(planned={**transaction.experiment.planned, name: config})
                update_summary(transaction)
                return transaction.stage(name)
        return await self.run(exp_id, name, parameters)

    async def cancel(self, exp_id: str, stage: str) -> StageRecord:
        """Stop a stage that waits, runs or is paused. May be repeated.

        Raises:
            Conflict: there is nothing to stop, or a task runs the stage.
        """
        name = find_stage(stage).name
        async with self.records.experiments.transaction(exp_id) as transaction:
            run = transaction.stage(name)
            if run.status not in (StageStatus.CANCELLED, StageStatus.PAUSED) and not run.status.active:
                raise Conflict(f"{name} is {run.status}", hint="Only a stage that waits or runs can be cancelled.")
            if task := open_task(transaction):
                raise Conflict(f"{name} belongs to task {task.id}", hint="Cancel the task.")
            ended = waiting_runs(transaction, name)
            if run.status is not StageStatus.CANCELLED:
                run = cancel_run(transaction, name)
                ended += cancel_prerequisites(transaction, run)
            update_summary(transaction)
        await self.jobs.cancel([run, *ended])
        return run

    async def cancel_all(self, exp_id: str) -> ExperimentRecord:
        """Cancel every stage that waits, runs or is paused; what is finished stays. May be repeated.

        Raises:
            Conflict: a task runs the stages.
        """
        async with self.records.experiments.transaction(exp_id) as transaction:
            if task := open_task(transaction):
                raise Conflict(f"{exp_id} belongs to task {task.id}", hint="Cancel the task.")
            transaction.set_experiment(planned={})
            cancel_open_runs(transaction)
            cancelled = [run for run in transaction.stages.values() if run.status is StageStatus.CANCELLED]
        await self.jobs.cancel(cancelled)
        return transaction.experiment

    async def control(
        self,
        exp_id: str,
        stage: str,
        action: str,
        parameters: Mapping[str, object] | None = None,
        *,
        confirm: bool = False,
    ) -> StageRecord:
        """Let a training `stop_after_epoch`, `pause` (save and free the GPU) or `resume`.

        `resume` takes parameters over those of the paused run.

        Raises:
            InvalidRequest: an unknown action, a stage that does not train, or parameters without `resume`.
            Conflict: the action does not apply now.
            ConfirmationNeeded: names what would differ from the paused run.
        """
        name = find_stage(stage).name
        if action not in CONTROLS:
            raise InvalidRequest(f"no action {action!r}", hint=f"Actions: {', '.join(CONTROLS)}.")
        if not STAGES[name].trains:
            trainings = ", ".join(training.name for training in STAGES.values() if training.trains)
            raise InvalidRequest(f"{name} cannot {action.replace('_', ' ')}", hint=f"These can: {trainings}.")
        if parameters and action != "resume":
            raise InvalidRequest(f"{action} takes no parameters", hint="A training takes others when it resumes.")
        if action == "resume":
            return await self._resume(exp_id, name, parameters, confirm=confirm)
        async with self.records.experiments.transaction(exp_id) as transaction:
            run = transaction.stage(name)
            if not run.status.active:
                raise Conflict(f"{name} is {run.status}; it cannot {action.replace('_', ' ')}")
            if action == "pause" and run.status is not StageStatus.RUNNING:
                run = pause_run(transaction, name)
            else:
                run = transaction.set_stage(name, control=action)
            update_summary(transaction)
        if run.status is StageStatus.PAUSED:
            await self.jobs.cancel([run])
        return run

    async def _resume(
        self, exp_id: str, name: str, parameters: Mapping[str, object] | None, *, confirm: bool
    ) -> StageRecord:
        await self._check_weights(name, parameters)
        await self.jobs.wait_until_stopped(await self.records.stages.get(exp_id, name))
        async with self.records.experiments.transaction(exp_id) as transaction:
            if _is_repeated(transaction.stage(name)):
                return transaction.stage(name)
            status = transaction.stage(name).status
            if status is not StageStatus.PAUSED:
                raise Conflict(f"{name} is {status}; only a paused stage can resume")
            _check_needs(transaction, name)
            run = _queue_resumed(transaction, name, parameters, confirm=confirm)
            update_summary(transaction)
        await self._enqueue_or_fail(transaction.experiment, run)
        return run

    async def _check_weights(self, stage: str, parameters: Mapping[str, object] | None) -> None:
        await check_named_weights(self.records, self.versions.folder, stage, parameters or {})

    async def _enqueue_or_fail(
        self, experiment: ExperimentRecord, *runs: StageRecord, awaited: Sequence[StageRecord] = ()
    ) -> None:
        """Enqueue runs; those that the queue does not accept are recorded as failed, so that they never start.

        Raises:
            QueueUnavailable, QuotaExceeded: after that, for the caller of the API.
        """
        waiting = list(runs)
        try:
            while waiting:
                await self.jobs.enqueue(experiment, waiting[0], awaited=awaited)
                del waiting[0]
        except (QueueUnavailable, QuotaExceeded) as error:
            for run in waiting:
                async with self.records.experiments.transaction(run.exp_id) as transaction:
                    if transaction.stage(run.stage).run != run.run:
                        continue
                    if run.work_run != run.run:  # resumed: what it has trained so far is still there
                        pause_run(transaction, run.stage)
                    else:
                        data = error.as_dict()
                        transaction.set_stage(run.stage, status=StageStatus.FAILED, message=error.message, error=data)
                    transaction.set_experiment(planned={})
                    update_summary(transaction)
            raise


def _is_repeated(run: StageRecord) -> bool:
    """Return whether the present request, when it came before, began a run, which the reconciler enqueues."""
    began = began_earlier_at()
    return began is not None and (run.queued_at or 0.0) >= began and run.status is not StageStatus.FAILED


def _prerequisites_run_by_themselves(transaction: ExperimentTransaction) -> bool:
    """Return whether the client knows only the stages of the tasks service; that of the eleven steps knows all."""
    return transaction.experiment.dialect != STEPWISE_DIALECT


def _stage_config(
    transaction: ExperimentTransaction, name: str, parameters: Mapping[str, object] | None
) -> StageConfig:
    """Return all parameters of a stage: defaults, then the experiment's own, then `parameters`."""
    return parse_parameters(name, {**transaction.experiment.parameters.get(name, {}), **(parameters or {})})


def _queue_resumed(
    transaction: ExperimentTransaction, name: str, parameters: Mapping[str, object] | None, *, confirm: bool
) -> StageRecord:
    """Queue a run that continues the paused one; ConfirmationNeeded unless nothing differs or `confirm` is set."""
    paused = transaction.stage(name)
    config = parse_parameters(name, {**paused.config, **(parameters or {})})
    differences = differences_since_pause(transaction, paused, config)
    if differences and not confirm:
        listed = ", ".join(
            f"{key} was {values['before']!r} and is {values['now']!r}" for key, values in differences.items()
        )
        raise ConfirmationNeeded(
            f"{name} paused with something else: {listed}",
            hint="Send confirm: true to go on with that; what was saved is used as far as it still fits.",
            details={"changed": differences},
        )
    return queue_resumed_run(transaction, name, config)


def _check_can_run(transaction: ExperimentTransaction, name: str, planned: list[str] | None = None) -> None:
    """Raise InvalidRequest or Conflict unless a stage can be run now, or after the `planned` stages of its preset."""
    experiment = transaction.experiment
    if experiment.version not in STAGES[name].versions:
        raise InvalidRequest(
            f"{experiment.version} has no {name}",
            hint=f"Its stages: {', '.join(stage_order(experiment.version, with_test=True))}.",
        )
    if task := open_task(transaction):
        raise Conflict(f"task {task.id} runs the stages of {experiment.id}", hint="Cancel it, or wait.")
    if transaction.stage(name).status.active:
        raise Conflict(f"{name} is {transaction.stage(name).status} already", hint="Wait for it, or cancel it.")
    for other in (*stage_inputs(name, experiment.version), *dependent_stages(name)):
        awaited = not STAGES[other].known_to_clients and _prerequisites_run_by_themselves(transaction)
        if transaction.stage(other).status.active and not (awaited and other in stage_inputs(name, experiment.version)):
            raise Conflict(f"{other} is {transaction.stage(other).status}", hint="Wait for it, or cancel it.")
    if planned is not None and transaction.stage(name).status is StageStatus.PAUSED:
        raise Conflict(f"{name} is paused", hint="Resume it, or cancel it.")
    _check_needs(transaction, name, planned or [])


def _check_needs(transaction: ExperimentTransaction, name: str, planned: list[str] | None = None) -> None:
    """Raise InvalidRequest for what a stage needs, is not completed, not `planned`, and does not run by itself."""
    version, missing = transaction.experiment.version, list[str]()
    unchecked = [name]
    for stage in unchecked:
        for need in unmet_needs(stage, transaction.statuses, version):
            if need in (planned or []) or need in (*missing, *unchecked):
                continue
            if STAGES[need].known_to_clients or not _prerequisites_run_by_themselves(transaction):
                missing.append(need)
            else:
                unchecked.append(need)
    if missing:
        missing.sort(key=list(STAGES).index)
        raise InvalidRequest(
            f"{name} needs {', '.join(missing)} first",
            hint="Run those stages, in order.",
            details={"unmet": missing},
            literal=f"依赖阶段未完成: {', '.join(missing)}",
        )
