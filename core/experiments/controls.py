"""What experts ask of single stages: run, run again, pause, resume, cancel; and presets that run several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from core.errors import ConfirmationNeeded, Conflict, InvalidParameter, InvalidRequest, QueueUnavailable
from core.experiments.requests import Requests
from core.experiments.rules import begin, begin_planned, cancel, changes, choose, pause, resume, summarise
from core.records import Change, ExperimentRecord, StageRecord
from core.stages.stage import STAGES, StageStatus, dependents, find, find_preset, order, parse_parameters, reads, unmet

CONTROLS: Final = ("stop_after_epoch", "pause", "resume")


class Controls(Requests):
    """A stage is named by its name or its alias."""

    async def run_stage(
        self,
        exp_id: str,
        stage: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        confirm: bool = False,
        device: str | None = None,
        schedule_at: float | None = None,
    ) -> StageRecord:
        """Run one stage with parameters over the defaults, again if it is completed; a paused one goes on.

        InvalidRequest names unmet needs, InvalidParameter what is wrong; Conflict while it, or what reads its result,
        is under way; ConfirmationNeeded when a paused run would go on with something changed.
        `device` (`cuda`, `cuda:N`, `cpu`) is for trainings; `schedule_at`: seconds since the epoch.
        """
        name = find(stage).name
        device = await self.check_device(device)
        await self.let_stop(await self.records.get_stage(exp_id, name))
        async with self.records.change(exp_id) as change:
            _check_stage(change, name)
            if change.stage(name).status is StageStatus.PAUSED:
                run = _resume(change, name, parameters, confirm)
            else:
                run = begin(change, name, stage_config(change, name, parameters))
            run = choose(change, run, device, schedule_at)
            summarise(change)
        await self._enqueue_or_fail(change.experiment, run)
        return run

    async def run_preset(
        self, exp_id: str, preset: str, parameters: Mapping[str, Mapping[str, Any]] | None = None
    ) -> list[StageRecord]:
        """Run a preset's stages, each as soon as what it reads is there; returns those that begin at once.

        `parameters`: stage → parameters over the defaults. Refuses as `run_stage` does, before anything begins.
        """
        chosen = find_preset(preset)
        given = {find(stage).name: values for stage, values in (parameters or {}).items()}
        async with self.records.change(exp_id) as change:
            available = order(change.experiment.version, with_test=True)
            names = [name for name in chosen.stages if name in available]
            if strangers := [name for name in given if name not in names]:
                raise InvalidParameter(
                    f"{preset} does not run {', '.join(strangers)}",
                    hint=f"Its stages: {', '.join(names)}.",
                    details={"parameters": strangers},
                )
            for name in names:
                _check_stage(change, name, planned=names)
            change.set_experiment(planned={name: stage_config(change, name, given.get(name)) for name in names})
            begun = begin_planned(change)
            summarise(change)
        await self._enqueue_or_fail(change.experiment, *begun)
        return begun

    async def cancel_stage(self, exp_id: str, stage: str) -> StageRecord:
        """Stop a stage that waits, runs or pauses; Conflict when there is nothing to stop. May be repeated."""
        name = find(stage).name
        async with self.records.change(exp_id) as change:
            run = change.stage(name)
            if run.status not in (StageStatus.CANCELLED, StageStatus.PAUSED) and not run.status.active:
                raise Conflict(f"{name} is {run.status}", hint="Only a stage that waits or runs can be cancelled.")
            if change.task is not None and not change.task.status.terminal:
                raise Conflict(f"{name} belongs to task {change.task.id}", hint="Cancel the task.")
            if run.status is not StageStatus.CANCELLED:
                run = cancel(change, name)
            summarise(change)
        await self.cancel_jobs([run])
        return run

    async def control_stage(
        self,
        exp_id: str,
        stage: str,
        action: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        confirm: bool = False,
    ) -> StageRecord:
        """`stop_after_epoch`, `pause` (save and free the GPU), `resume`. Conflict when it does not apply.

        `resume` takes parameters over those it paused with; ConfirmationNeeded names what would be different then.
        """
        name = find(stage).name
        _check_control(name, action, parameters)
        if action == "resume":
            return await self._resume_stage(exp_id, name, parameters, confirm)
        async with self.records.change(exp_id) as change:
            run = change.stage(name)
            if not run.status.active:
                raise Conflict(f"{name} is {run.status}; it cannot {action.replace('_', ' ')}")
            if action == "pause" and run.status is not StageStatus.RUNNING:
                run = pause(change, name)
            else:
                run = change.set_stage(name, control=action)
            summarise(change)
        if run.status is StageStatus.PAUSED:
            await self.cancel_jobs([run])
        return run

    async def _resume_stage(
        self, exp_id: str, name: str, parameters: Mapping[str, Any] | None, confirm: bool
    ) -> StageRecord:
        await self.let_stop(await self.records.get_stage(exp_id, name))
        async with self.records.change(exp_id) as change:
            status = change.stage(name).status
            if status is not StageStatus.PAUSED:
                raise Conflict(f"{name} is {status}; only a paused stage can resume")
            _check_needs(change, name)
            run = _resume(change, name, parameters, confirm)
            summarise(change)
        await self._enqueue_or_fail(change.experiment, run)
        return run

    async def _enqueue_or_fail(self, experiment: ExperimentRecord, *runs: StageRecord) -> None:
        """A run that no queue took has failed: its caller is told so, and it must not start later."""
        waiting = list(runs)
        try:
            while waiting:
                await self.enqueue_run(experiment, waiting[0])
                del waiting[0]
        except QueueUnavailable as error:
            for run in waiting:
                await self._fail_unqueued(run, error)
            raise

    async def _fail_unqueued(self, run: StageRecord, error: QueueUnavailable) -> None:
        async with self.records.change(run.exp_id) as change:
            if change.stage(run.stage).run != run.run:
                return
            if run.work_run != run.run:  # what it had learnt is still there
                pause(change, run.stage)
            else:
                change.set_stage(run.stage, status=StageStatus.FAILED, message=error.message, error=error.as_dict())
            change.set_experiment(planned={})
            summarise(change)


def _check_control(name: str, action: str, parameters: Mapping[str, Any] | None) -> None:
    if action not in CONTROLS:
        raise InvalidRequest(f"no action {action!r}", hint=f"Actions: {', '.join(CONTROLS)}.")
    if not STAGES[name].trains:
        trainings = ", ".join(one.name for one in STAGES.values() if one.trains)
        raise InvalidRequest(f"{name} cannot {action.replace('_', ' ')}", hint=f"These can: {trainings}.")
    if parameters and action != "resume":
        raise InvalidRequest(f"{action} takes no parameters", hint="A training takes others when it resumes.")


def stage_config(change: Change, name: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """All parameters of a stage: the defaults, the experiment's own, those given now."""
    return parse_parameters(name, {**change.experiment.parameters.get(name, {}), **(given or {})})


def _resume(change: Change, name: str, given: Mapping[str, Any] | None, confirm: bool) -> StageRecord:
    paused = change.stage(name)
    config = parse_parameters(name, {**paused.config, **(given or {})})
    changed = changes(change, paused, config)
    if changed and not confirm:
        said = ", ".join(f"{one} was {values['before']!r} and is {values['now']!r}" for one, values in changed.items())
        raise ConfirmationNeeded(
            f"{name} paused with something else: {said}",
            hint="Send confirm: true to go on with that; what was saved is used as far as it still fits.",
            details={"changed": changed},
        )
    return resume(change, name, config)


def _check_stage(change: Change, name: str, planned: list[str] | None = None) -> None:
    experiment = change.experiment
    if experiment.version not in STAGES[name].versions:
        raise InvalidRequest(
            f"{experiment.version} has no {name}",
            hint=f"Its stages: {', '.join(order(experiment.version, with_test=True))}.",
        )
    if change.task is not None and not change.task.status.terminal:
        raise Conflict(f"task {change.task.id} runs the stages of {experiment.id}", hint="Cancel it, or wait.")
    if change.stage(name).status.active:
        raise Conflict(f"{name} is {change.stage(name).status} already", hint="Wait for it, or cancel it.")
    for other in (*reads(name, experiment.version), *dependents(name)):
        if change.stage(other).status.active:
            raise Conflict(f"{other} is {change.stage(other).status}", hint="Wait for it, or cancel it.")
    if planned is not None and change.stage(name).status is StageStatus.PAUSED:
        raise Conflict(f"{name} is paused", hint="Resume it, or cancel it.")
    _check_needs(change, name, planned or [])


def _check_needs(change: Change, name: str, planned: list[str] | None = None) -> None:
    missing = [need for need in unmet(name, change.statuses, change.experiment.version) if need not in (planned or [])]
    if missing:
        raise InvalidRequest(
            f"{name} needs {', '.join(missing)} first",
            hint="Run those stages, in order.",
            details={"unmet": missing},
        )
