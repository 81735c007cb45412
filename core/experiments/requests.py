"""What people ask for: tasks, experiments, single stages, and an end to them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Final

from core.errors import Conflict, InvalidRequest, QueueUnavailable
from core.experiments.base import ServiceBase
from core.experiments.new import first_run, new_experiment, new_task
from core.experiments.rules import begin, cancel_everything, summarise
from core.ids import new_id
from core.records import (
    Change,
    ExperimentRecord,
    ExperimentStatus,
    NewTask,
    StageRecord,
    TaskRecord,
    TaskStatus,
)
from core.stage import QUALITIES, STAGES, StageStatus, find, order, parse_parameters, unmet

CONTROLS: Final = ("stop_after_epoch", "pause", "resume")


class Requests(ServiceBase):
    """Every method checks what it is given, so that all front doors refuse alike."""

    async def create_task(
        self,
        exp_name: str,
        audio_file_id: str,
        version: str = "v2",
        language: str = "zh",
        quality: str = "standard",
        priority: int = 5,
        idempotency_key: str = "",
        *,
        webhook_url: str = "",
        schedule_at: float | None = None,
    ) -> TaskRecord:
        """Record a task and enqueue its first stage; a known idempotency key answers with its task.

        `schedule_at`: seconds since the epoch. QueueUnavailable leaves nothing behind.
        """
        _check_name(exp_name)
        _check_priority(priority)
        if quality not in QUALITIES:
            raise InvalidRequest(f"no quality {quality!r}", hint=f"Qualities: {', '.join(QUALITIES)}.")
        parameters = {"asr": {"language": language}, **QUALITIES[quality]}
        parse_parameters("asr", parameters["asr"])  # an unknown language is refused now, not at the fourth stage
        experiment = new_experiment(exp_name, version, language, audio_file_id, parameters, self.clock())
        experiment = replace(experiment, task_id=new_id("task"), priority=priority, status=ExperimentStatus.RUNNING)
        new = NewTask(
            task=new_task(experiment, quality, idempotency_key, webhook_url, schedule_at),
            experiment=experiment,
            stage=first_run(experiment),
        )
        task = await self.records.create_task(new)
        if task.status is not TaskStatus.QUEUED:
            return task
        await self._enqueue_first(new if task is new.task else None, task)
        return task

    async def create_experiment(
        self,
        exp_name: str,
        audio_file_id: str,
        version: str = "v2",
        language: str = "zh",
        gpu_numbers: str = "0",
        is_half: bool = True,
        priority: int = 5,
    ) -> ExperimentRecord:
        """Expert mode: nothing runs until a stage is asked for. NotFound: no such file."""
        _check_name(exp_name)
        _check_priority(priority)
        await self.records.get_file(audio_file_id)
        parameters = {"asr": {"language": language}}
        parse_parameters("asr", parameters["asr"])
        experiment = new_experiment(exp_name, version, language, audio_file_id, parameters, self.clock())
        experiment = replace(experiment, gpu_numbers=gpu_numbers, is_half=is_half, priority=priority)
        return await self.records.create_experiment(experiment)

    async def delete_experiment(self, exp_id: str) -> None:
        """Records and files; checkpoints and voices stay. Conflict while a stage is under way."""
        await self.records.delete_experiment(exp_id)
        if self.storage is not None:
            await asyncio.to_thread(self.storage.delete_folder, f"experiments/{exp_id}")

    async def run_stage(self, exp_id: str, stage: str, parameters: dict[str, Any] | None = None) -> StageRecord:
        """Run one stage (name or alias) with parameters over the defaults, again if it is completed.

        InvalidRequest names unmet needs, InvalidParameter what is wrong; Conflict while it is under way.
        """
        name = find(stage).name
        async with self.records.change(exp_id) as change:
            _check_stage(change, name)
            config = parse_parameters(name, {**change.experiment.parameters.get(name, {}), **(parameters or {})})
            run = begin(change, name, config)
            summarise(change)
        await self._enqueue_or_fail(change.experiment, run)
        return run

    async def cancel_stage(self, exp_id: str, stage: str) -> StageRecord:
        """Stop a stage that waits or runs; Conflict when there is nothing to stop."""
        name = find(stage).name
        async with self.records.change(exp_id) as change:
            run = change.stage(name)
            if run.status not in (StageStatus.CANCELLED, StageStatus.PAUSED) and not run.status.active:
                raise Conflict(f"{name} is {run.status}", hint="Only a stage that waits or runs can be cancelled.")
            if change.task is not None and not change.task.status.terminal:
                raise Conflict(f"{name} belongs to task {change.task.id}", hint="Cancel the task.")
            run = change.set_stage(name, status=StageStatus.CANCELLED, message="Cancelled.", completed_at=change.now)
            summarise(change)
        await self.cancel_jobs([run])
        return run

    async def cancel_task(self, task_id: str) -> TaskRecord:
        """Stop a task and keep what is finished; one that ended stays as it is. May be repeated."""
        task = await self.records.get_task(task_id)
        async with self.records.change(task.exp_id) as change:
            ends_now = change.task is not None and not change.task.status.terminal
            if ends_now:
                cancel_everything(change)
            to_stop = [run for run in change.stages.values() if run.status is StageStatus.CANCELLED]
        assert change.task is not None
        if change.task.status is TaskStatus.CANCELLED:
            await self.cancel_jobs(to_stop)
        if ends_now:
            await self.publish_end(change.task)
        return change.task

    async def control_stage(self, exp_id: str, stage: str, action: str) -> StageRecord:
        """`stop_after_epoch`, `pause` (save and free the GPU), `resume`. Conflict when it does not apply."""
        name = find(stage).name
        if action not in CONTROLS:
            raise InvalidRequest(f"no action {action!r}", hint=f"Actions: {', '.join(CONTROLS)}.")
        async with self.records.change(exp_id) as change:
            run = change.stage(name)
            resumes = action == "resume"
            if run.status is not StageStatus.PAUSED if resumes else not run.status.active:
                raise Conflict(f"{name} is {run.status}; it cannot {action.replace('_', ' ')}")
            if resumes:
                run = begin(change, name, run.config, work_run=run.work_run)
            elif action == "pause" and run.status is StageStatus.QUEUED:
                run = change.set_stage(name, status=StageStatus.PAUSED, message="Paused.")
            else:
                run = change.set_stage(name, control=action)
            summarise(change)
        if resumes:
            await self._enqueue_or_fail(change.experiment, run)
        elif run.status is StageStatus.PAUSED:
            await self.cancel_jobs([run])
        return run

    async def _enqueue_first(self, new: NewTask | None, task: TaskRecord) -> None:
        """For a task found by its key, too: the one who made it may have died before this."""
        experiment = new.experiment if new else await self.records.get_experiment(task.exp_id)
        run = new.stage if new else await self.records.get_stage(task.exp_id, order(task.version)[0])
        delay = max(0.0, task.schedule_at - self.clock()) if task.schedule_at is not None else 0.0
        try:
            await self.enqueue_run(experiment, run, delay)
        except QueueUnavailable:
            if new is not None:
                await self.records.undo_task(new)
            raise

    async def _enqueue_or_fail(self, experiment: ExperimentRecord, run: StageRecord) -> None:
        """A run that no queue took has failed: its caller is told so, and it must not start later."""
        try:
            await self.enqueue_run(experiment, run)
        except QueueUnavailable as error:
            await self._fail_unqueued(run, error)
            raise

    async def _fail_unqueued(self, run: StageRecord, error: QueueUnavailable) -> None:
        async with self.records.change(run.exp_id) as change:
            if change.stage(run.stage).run == run.run:
                change.set_stage(run.stage, status=StageStatus.FAILED, message=error.message, error=error.as_dict())
                summarise(change)


def _check_name(exp_name: str) -> None:
    if not 1 <= len(exp_name.strip()) <= 100:
        raise InvalidRequest("exp_name needs 1 to 100 characters")


def _check_priority(priority: int) -> None:
    if not 1 <= priority <= 10:
        raise InvalidRequest(f"priority is {priority}; it goes from 1 (last) to 10 (first)")


def _check_stage(change: Change, name: str) -> None:
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
    missing = unmet(name, change.statuses)
    if missing:
        raise InvalidRequest(
            f"{name} needs {', '.join(missing)} first",
            hint="Run those stages, in order.",
            details={"unmet": list(missing)},
        )
