"""What people ask for: tasks and experiments, and an end to them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from core.errors import Conflict, InvalidParameter, InvalidRequest, QueueUnavailable, TimedOut
from core.experiments.base import ServiceBase
from core.experiments.new import find_source, first_run, new_experiment, new_task
from core.experiments.rules import cancel_everything
from core.ids import new_id
from core.records import (
    ExperimentRecord,
    ExperimentStatus,
    NewTask,
    StageRecord,
    TaskRecord,
    TaskStatus,
)
from core.stages.stage import QUALITIES, StageStatus, find, order, parse_parameters

STOPPING_SECONDS: Final = 8.0
"""How long a job that was cancelled is waited for; its worker ends itself after less."""
_GPU_NUMBERS: Final = re.compile(r"\d{1,2}(-\d{1,2}){0,15}")


class Requests(ServiceBase):
    """Every method checks what it is given, so that all front doors refuse alike."""

    async def create_task(
        self,
        exp_name: str,
        audio_file_id: str | None,
        version: str = "v2",
        language: str = "zh",
        quality: str = "standard",
        priority: int = 5,
        idempotency_key: str = "",
        *,
        dataset_id: str | None = None,
        dataset_version: int | None = None,
        webhook_url: str = "",
        schedule_at: float | None = None,
        device: str = "",
        parameters: Mapping[str, Mapping[str, Any]] | None = None,
        unready: bool = False,
        upload_url: str = "",
    ) -> TaskRecord:
        """Record a task and enqueue its first stage; a known idempotency key answers with its task.

        An empty `language` is that of the data set.
        `schedule_at`: seconds since the epoch. `device`: where it trains (`cuda`, `cuda:N`, `cpu`); empty: anywhere.
        `parameters`: stage → parameters over those of the quality. `unready`: the data set may still be in the making.
        `upload_url`: where a ZIP of the voice is sent. QueueUnavailable leaves nothing behind.
        """
        check_name(exp_name)
        check_priority(priority)
        if quality not in QUALITIES:
            raise InvalidRequest(f"no quality {quality!r}", hint=f"Qualities: {', '.join(QUALITIES)}.")
        source = await find_source(self.records, audio_file_id, dataset_id, dataset_version, unready=unready)
        language = language or source.language
        chosen = choose_parameters({"asr": {"language": language}, **QUALITIES[quality]}, parameters, version)
        experiment = new_experiment(exp_name, version, language, source, chosen, self.clock())
        experiment = replace(
            experiment,
            task_id=new_id("task"),
            priority=priority,
            status=ExperimentStatus.RUNNING,
            device=await self.check_device(device),
        )
        new = NewTask(
            task=replace(
                new_task(experiment, quality, idempotency_key, webhook_url, schedule_at), upload_url=upload_url
            ),
            experiment=experiment,
            stage=first_run(experiment, schedule_at),
        )
        task = await self.records.create_task(new)
        if task.status is not TaskStatus.QUEUED:
            return task
        await self._enqueue_first(new if task is new.task else None, task)
        return task

    async def create_experiment(
        self,
        exp_name: str,
        audio_file_id: str | None,
        version: str = "v2",
        language: str = "zh",
        gpu_numbers: str = "0",
        is_half: bool = True,
        priority: int = 5,
        *,
        dataset_id: str | None = None,
        dataset_version: int | None = None,
        device: str = "",
    ) -> ExperimentRecord:
        """Expert mode: nothing runs until a stage is asked for. NotFound: no such file or data set.

        An empty `language` is that of the data set.
        """
        check_name(exp_name)
        check_priority(priority)
        check_gpu_numbers(gpu_numbers)
        source = await find_source(self.records, audio_file_id, dataset_id, dataset_version)
        language = language or source.language
        parameters = {"asr": {"language": language}}
        parse_parameters("asr", parameters["asr"])
        if source.audio_file_id:
            await self.records.get_file(source.audio_file_id)
        experiment = new_experiment(exp_name, version, language, source, parameters, self.clock())
        experiment = replace(
            experiment,
            gpu_numbers=gpu_numbers,
            is_half=is_half,
            priority=priority,
            device=await self.check_device(device),
        )
        return await self.records.create_experiment(experiment)

    async def update_experiment(
        self,
        exp_id: str,
        *,
        exp_name: str | None = None,
        gpu_numbers: str | None = None,
        is_half: bool | None = None,
    ) -> ExperimentRecord:
        """Change what is given; a stage under way goes on as it began, the next one sees it."""
        values: dict[str, Any] = {"exp_name": exp_name, "gpu_numbers": gpu_numbers, "is_half": is_half}
        values = {name: value for name, value in values.items() if value is not None}
        if not values:
            raise InvalidRequest("Nothing is to be changed.", hint="Send exp_name, gpu_numbers or is_half.")
        if exp_name is not None:
            check_name(exp_name)
        if gpu_numbers is not None:
            check_gpu_numbers(gpu_numbers)
        return await self.records.update_experiment(exp_id, **values)

    async def delete_experiment(self, exp_id: str) -> None:
        """Its records, files, logs, and the checkpoints that no voice speaks with; promoted ones stay, too.

        Conflict while a stage or its task is under way, or a voice speaks with a prompt that lies in its folder.
        """
        for run in await self.records.list_stages(exp_id):
            await self.let_stop(run)
        weights = await self.records.delete_experiment(exp_id)
        if self.storage is not None:
            storage = self.storage
            for key in weights:
                await asyncio.to_thread(storage.delete, key)
            await asyncio.to_thread(storage.delete_folder, f"experiments/{exp_id}")
            await asyncio.to_thread(storage.delete_folder, f"logs/{exp_id}")

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

    async def let_stop(self, run: StageRecord) -> None:
        """Wait until the worker of a run that has ended has let go of its folder; Conflict if it stays."""
        if run.status not in (StageStatus.CANCELLED, StageStatus.PAUSED, StageStatus.FAILED):
            return
        job = await self.queue.job(run.job_id)
        if job is None or job.status.terminal:
            return
        try:
            await self.events.wait(run.job_id, STOPPING_SECONDS)
        except TimedOut:
            raise Conflict(f"{run.stage} of {run.exp_id} is still stopping", hint="Try again in a moment.") from None

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


def choose_parameters(
    defaults: Mapping[str, Mapping[str, Any]], given: Mapping[str, Mapping[str, Any]] | None, version: str
) -> dict[str, dict[str, Any]]:
    """Stage → parameters that differ from its own defaults, all checked now and not when their stage begins."""
    chosen: dict[str, dict[str, Any]] = {stage: dict(values) for stage, values in defaults.items()}
    for name, values in (given or {}).items():
        stage = find(name).name
        if stage not in order(version, with_test=True):
            raise InvalidParameter(
                f"{version} has no {stage}",
                hint=f"Its stages: {', '.join(order(version))}.",
                details={"parameters": [name]},
            )
        chosen[stage] = {**chosen.get(stage, {}), **values}
    for stage, values in chosen.items():
        parse_parameters(stage, values)
    return chosen


def check_gpu_numbers(gpu_numbers: str) -> None:
    """InvalidParameter unless it is one GPU's number, or several joined by dashes."""
    numbers = [int(part) for part in gpu_numbers.split("-")] if _GPU_NUMBERS.fullmatch(gpu_numbers) else []
    if not numbers or len(set(numbers)) < len(numbers):
        raise InvalidParameter(
            f"gpu_numbers is {gpu_numbers!r}",
            hint="One GPU's number or several joined by dashes work, each once: 0 or 0-1-2.",
            details={"parameters": ["gpu_numbers"]},
        )


def check_name(exp_name: str) -> None:
    if not 1 <= len(exp_name.strip()) <= 100:
        raise InvalidRequest("exp_name needs 1 to 100 characters")


def check_priority(priority: int) -> None:
    if not 1 <= priority <= 10:
        raise InvalidRequest(f"priority is {priority}; it goes from 1 (last) to 10 (first)")
