"""Which stages begin next, and the end of a task whose stages are all completed."""

from __future__ import annotations

import logging

from core.errors import SovitsError
from core.experiments.lifecycle import fail_task, open_task, queue_next
from core.experiments.notifier import Notifier
from core.experiments.run_jobs import RunJobs
from core.experiments.voice_publisher import VoicePublisher
from core.records import Records, TaskStatus
from core.speech.result_uploads import new_upload_job

logger = logging.getLogger(__name__)


class StageScheduler:
    """Begins the next stages of tasks and presets. Every step is harmless when repeated."""

    def __init__(self, records: Records, jobs: RunJobs, notifier: Notifier, voices: VoicePublisher) -> None:
        self.records = records
        self.jobs = jobs
        self.notifier = notifier
        self.voices = voices

    async def advance(self, exp_id: str) -> None:
        """Begin the stages that a task or a preset can run now; end the task when all are completed."""
        async with self.records.experiments.transaction(exp_id) as transaction:
            queued, task_done = queue_next(transaction)
        await self.jobs.enqueue_or_defer(transaction.experiment, queued)
        if task_done:
            await self.complete_task(exp_id)

    async def complete_task(self, exp_id: str) -> None:
        """Publish the voice, upload the results where the task asks for it, and record the task's end, once."""
        error = None
        try:
            voice = await self.voices.publish(exp_id)
        except SovitsError as publishing_error:
            error = publishing_error
        else:
            # Before the end is recorded: a process that dies in between repeats it.
            experiment = await self.records.experiments.get(exp_id)
            if experiment.task_id is not None:
                task = await self.records.tasks.get(experiment.task_id)
                if task.upload_url:
                    token = task.labels.get("upload_token", "")
                    upload = new_upload_job(task.id, task.upload_url, token=token, priority=task.priority)
                    await self.jobs.queue.enqueue_many([upload])
        async with self.records.experiments.transaction(exp_id) as transaction:
            ends_now = open_task(transaction) is not None
            if error is not None:
                fail_task(transaction, error.as_dict())
            elif ends_now:
                transaction.set_task(
                    status=TaskStatus.COMPLETED,
                    voice_id=voice.id,
                    progress=1.0,
                    overall_progress=1.0,
                    message=f"The voice {voice.name} is ready.",
                    completed_at=transaction.now,
                )
        if ends_now and transaction.task is not None:
            if error is not None:
                logger.error("Task %s failed: %s", transaction.task.id, error.message)
            else:
                logger.info("Task %s is completed: voice %s.", transaction.task.id, voice.name)
            await self.notifier.task_ended(transaction.task)
