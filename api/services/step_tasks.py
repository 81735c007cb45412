"""Tasks whose client uploads files and runs one step (stage) after the other: experiments of the training service."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from api.http.multipart import Upload, safe_label
from api.services.uploads import UploadService
from core.datasets import DatasetService
from core.errors import Conflict, NotFound
from core.experiments.service import ExperimentService
from core.experiments.sources import delete_dataset_of_files, source_of_files
from core.jobs.events import Events
from core.records import (
    STEPWISE_DIALECT,
    CheckpointRecord,
    ExperimentRecord,
    FileRecord,
    Records,
    StageRecord,
    TaskRecord,
)

MAX_FILES: Final = 500
"""Of one task."""

StepTaskFiles = dict[str, FileRecord | CheckpointRecord]
"""File name → the upload or the checkpoint of that name."""


class StepTaskService:
    """Finds, runs, cancels and deletes such tasks, and keeps their files."""

    def __init__(
        self,
        records: Records,
        experiments: ExperimentService,
        datasets: DatasetService,
        events: Events,
        uploads: UploadService,
    ) -> None:
        self.records = records
        self.experiments = experiments
        self.datasets = datasets
        self.events = events
        self.uploads = uploads

    async def find(self, task_id: str) -> tuple[ExperimentRecord, TaskRecord | None]:
        """Return the experiment of a task; also the task, if the id is that of a Quick-mode task."""
        if task_id.startswith("task-"):
            task = await self.records.tasks.get(task_id)
            return await self.records.experiments.get(task.exp_id), task
        try:
            return await self.records.experiments.get(task_id), None
        except NotFound:
            raise NotFound(f"no task {task_id!r}", hint="POST /api/v1/task/create makes one.") from None

    async def find_step_task(self, exp_id: str) -> ExperimentRecord:
        """Return an experiment of the training service; NotFound for any other one."""
        experiment = await self.records.experiments.get(exp_id)
        if experiment.dialect != STEPWISE_DIALECT:
            raise NotFound(f"no task {exp_id!r}", hint=f"It is an experiment: GET /api/v1/experiments/{exp_id}.")
        return experiment

    async def runs(self, experiment: ExperimentRecord) -> list[StageRecord]:
        """Return the newest run of every stage, in the order of the stages."""
        return (await self.records.stages.of_experiments([experiment]))[experiment.id]

    async def run_step(
        self, experiment: ExperimentRecord, stage: str, parameters: Mapping[str, object], warning: str
    ) -> tuple[ExperimentRecord, StageRecord]:
        """Run a stage, or plan it when an earlier one is still running; log the warning, if any.

        The first stage reads the files that were uploaded until then. Return the experiment after that and the run.
        """
        if stage == "convert" and experiment.dialect == STEPWISE_DIALECT:
            source = await source_of_files(
                self.datasets,
                (await self._uploads(experiment))[::-1],
                experiment.exp_name,
                language=experiment.language,
                priority=experiment.priority,
                experiment=experiment,
            )
            await self.experiments.set_source(experiment.id, source)
        run = await self.experiments.stages.run_or_plan(experiment.id, stage, parameters)
        if warning:
            await self.experiments.notifier.log(experiment, warning, level="WARNING", stage=stage)
        return await self.records.experiments.get(experiment.id), run

    async def delete(self, experiment: ExperimentRecord, task: TaskRecord | None) -> None:
        """Cancel a task and delete it with its files; checkpoints of a voice stay."""
        if task is not None:
            await self.experiments.tasks.cancel(task.id)
        else:
            await self.experiments.stages.cancel_all(experiment.id)
        await self.experiments.delete(experiment.id)
        if experiment.dialect != STEPWISE_DIALECT:
            return
        if experiment.dataset_id is not None:
            await delete_dataset_of_files(self.datasets, self.events, experiment.dataset_id)
        for file in await self._uploads(experiment):
            with contextlib.suppress(Conflict):  # something else was made of it
                await self.uploads.delete(file.id)

    async def check_accepts_files(self, experiment: ExperimentRecord, task_id: str) -> None:
        """Raise Conflict if the task was made of a recording or has as many files as a task may have."""
        if experiment.dialect != STEPWISE_DIALECT:
            raise Conflict(f"{task_id} was made from a recording and takes no others", hint="POST /api/v1/task/create.")
        if len(await self._uploads(experiment)) >= MAX_FILES:
            raise Conflict(f"{task_id} has {MAX_FILES} files, the most of one task", hint="Send one ZIP.")

    async def add_file(self, experiment: ExperimentRecord, upload: Upload) -> tuple[FileRecord, list[str]]:
        """Store a received file in place of the one with the same name; Conflict while that is being read.

        Return the file, and the names of all uploads of the task in alphabetical order.
        """
        existing = await self._uploads(experiment)
        record = (await self.uploads.ingest(upload, experiment.id, archive_purpose=experiment.id)).record
        try:
            for file in existing:
                if file.filename == record.filename:
                    await self.uploads.delete(file.id)
        except Conflict:
            await self.uploads.delete(record.id)
            raise
        return record, sorted({file.filename for file in existing} | {record.filename})

    async def files(self, experiment: ExperimentRecord) -> StepTaskFiles:
        """Return the uploads and checkpoints by file name; of two with the same name the newer one."""
        files: StepTaskFiles = {}
        for checkpoint in (await self.records.checkpoints.page(MAX_FILES, exp_id=experiment.id)).items:
            extension = PurePosixPath(checkpoint.storage_key).suffix
            label = f"{experiment.exp_name}_{checkpoint.kind}_e{checkpoint.epoch or 0}{extension}"
            files.setdefault(safe_label(label), checkpoint)
        for file in await self._uploads(experiment):
            files.setdefault(file.filename, file)
        return files

    async def _uploads(self, experiment: ExperimentRecord) -> list[FileRecord]:
        """Return the uploads of a task, newest first; their purpose is the task's id."""
        return (await self.records.files.page(MAX_FILES, 0, experiment.id)).items
