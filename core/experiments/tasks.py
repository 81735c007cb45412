"""Quick mode: create and cancel tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from core.errors import InvalidRequest, QueueUnavailable, QuotaExceeded
from core.experiments.lifecycle import cancel_task, open_task
from core.experiments.model_versions import ModelVersions
from core.experiments.new_records import first_run, new_experiment, new_task
from core.experiments.notifier import Notifier
from core.experiments.requests import TaskRequest, check_name, check_priority, merge_parameters
from core.experiments.run_jobs import RunJobs
from core.experiments.sources import find_source
from core.records import NewTaskRecords, Records, TaskRecord, TaskStatus
from core.stages.order import stage_order
from core.stages.presets import QUALITIES
from core.stages.status import StageStatus


class Tasks:
    """Creates tasks, whose stages then run by themselves, and cancels them."""

    def __init__(
        self, records: Records, jobs: RunJobs, notifier: Notifier, versions: ModelVersions, clock: Callable[[], float]
    ) -> None:
        self.records = records
        self.jobs = jobs
        self.notifier = notifier
        self.versions = versions
        self.clock = clock

    async def create(self, request: TaskRequest) -> TaskRecord:
        """Record a task and enqueue its first stage; a repeated idempotency key returns the first task.

        Raises:
            InvalidRequest: a value out of range, or a named version whose weights are missing.
            NotFound: no such file or data set.
            Conflict: the data set is not ready.
            ConsentMissing: the voice could not be published, or the consent of the request does not count.
            QueueUnavailable, QuotaExceeded: nothing is left behind then.
        """
        check_name(request.exp_name)
        check_priority(request.priority)
        if request.quality not in QUALITIES:
            raise InvalidRequest(f"no quality {request.quality!r}", hint=f"Qualities: {', '.join(QUALITIES)}.")
        if self.records.consents.rule.required or request.consent_id:
            await self.records.consents.check_future_voice(request.consent_id or None)
        source = await find_source(self.records, request, accept_preparing=request.accept_preparing)
        language = request.language or source.language
        version = await self.versions.choose(request.version, language, request.parameters)
        request = replace(request, version=version)
        defaults = {"asr": {"language": language}, **QUALITIES[request.quality]}
        parameters = merge_parameters(defaults, request.parameters, request.version)
        experiment = new_experiment(request, source, parameters, now=self.clock())
        experiment = replace(experiment, device=await self.jobs.check_device(request.device))
        new = NewTaskRecords(
            task=new_task(experiment, request),
            experiment=experiment,
            stage=first_run(experiment, request.schedule_at),
        )
        task = await self.records.tasks.create(new)
        if task.status is not TaskStatus.QUEUED:
            return task
        is_new = task is new.task
        # Also for a task that exists by its key: its creator may have died before this.
        experiment = new.experiment if is_new else await self.records.experiments.get(task.exp_id)
        run = new.stage if is_new else await self.records.stages.get(task.exp_id, stage_order(task.version)[0])
        delay = max(0.0, task.schedule_at - self.clock()) if task.schedule_at is not None else 0.0
        try:
            await self.jobs.enqueue(experiment, run, delay)
        except (QueueUnavailable, QuotaExceeded):
            if is_new:
                await self.records.tasks.discard(new)
            raise
        return task

    async def cancel(self, task_id: str) -> TaskRecord:
        """Stop a task and keep what is finished; one that has ended stays as it is. May be repeated."""
        task = await self.records.tasks.get(task_id)
        async with self.records.experiments.transaction(task.exp_id) as transaction:
            ends_now = open_task(transaction) is not None
            if ends_now:
                cancel_task(transaction)
            cancelled = [run for run in transaction.stages.values() if run.status is StageStatus.CANCELLED]
        assert transaction.task is not None
        if transaction.task.status is TaskStatus.CANCELLED:
            await self.jobs.cancel(cancelled)
        if ends_now:
            await self.notifier.task_ended(transaction.task)
        return transaction.task
