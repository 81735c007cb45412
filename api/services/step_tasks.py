"""Tasks whose client uploads files and runs one step (stage) after the other: experiments of the training service."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from api.http.multipart import Upload, safe_label
from api.services.uploads import DEFAULT_PURPOSE, UploadService
from core.datasets import DatasetService
from core.errors import Conflict, InvalidParameter, NotFound, SovitsError
from core.experiments.service import ExperimentService
from core.experiments.sources import delete_dataset_of_files, source_of_files
from core.jobs.devices import worker_devices
from core.jobs.events import Events
from core.jobs.roles import PREPROCESSOR
from core.records import (
    STEPWISE_DIALECT,
    CheckpointRecord,
    ExperimentRecord,
    ExperimentStatus,
    FileRecord,
    Records,
    StageRecord,
    StepwiseState,
    TaskRecord,
)
from core.stages.parameter_schema import parse_parameters
from core.storage import Storage

STEP_TASK: Final = "task-steps-"
"""What the ids of tasks of the training service begin with; what follows is that of their experiment."""
EXPERIMENT: Final = "exp-"
MAX_FILES: Final = 500
"""Of one task."""

SAMPLE: Final = "sample.wav"
"""The file that test_inference leaves; where an upload has that name, `test_inference.wav`."""


@dataclass(frozen=True, slots=True)
class StepTaskAudio:
    """What the trained models spoke."""

    id: str
    """Of the job that left it."""
    storage_key: str
    size_bytes: int


StepTaskFiles = dict[str, FileRecord | CheckpointRecord | StepTaskAudio]
"""File name → the upload, the checkpoint or the audio of that name."""


def step_task_id(experiment: ExperimentRecord) -> str:
    """Return the id of the task that an experiment of the training service is; of another one, its own."""
    if experiment.dialect != STEPWISE_DIALECT:
        return experiment.id
    return STEP_TASK + experiment.id.removeprefix(EXPERIMENT)


class StepTaskService:
    """Finds, runs, cancels and deletes such tasks, and keeps their files."""

    def __init__(
        self,
        records: Records,
        experiments: ExperimentService,
        datasets: DatasetService,
        events: Events,
        uploads: UploadService,
        storage: Storage,
    ) -> None:
        self.records = records
        self.storage = storage
        self.experiments = experiments
        self.datasets = datasets
        self.events = events
        self.uploads = uploads

    async def find(self, task_id: str) -> tuple[ExperimentRecord, TaskRecord | None]:
        """Return the experiment of a task; also the task, if the id is that of a Quick-mode task.

        The id of the experiment is that of the task, too.
        """
        if task_id.startswith(STEP_TASK):
            return await self.find_step_task(task_id), None
        if task_id.startswith("task-"):
            task = await self.records.tasks.get(task_id)
            return await self.records.experiments.get(task.exp_id), task
        try:
            return await self.records.experiments.get(task_id), None
        except NotFound:
            raise NotFound(f"no task {task_id!r}", hint="POST /api/v1/task/create makes one.") from None

    async def find_step_task(self, task_id: str) -> ExperimentRecord:
        """Return an experiment of the training service, by the id of the task or by its own; NotFound for others."""
        exp_id = EXPERIMENT + task_id.removeprefix(STEP_TASK).removeprefix(EXPERIMENT)
        try:
            experiment = await self.records.experiments.get(exp_id)
        except NotFound:
            raise NotFound(f"no task {task_id!r}", hint="POST /api/v1/task/create makes one.") from None
        if experiment.dialect != STEPWISE_DIALECT:
            raise NotFound(f"no task {task_id!r}", hint=f"It is an experiment: GET /api/v1/experiments/{exp_id}.")
        return experiment

    async def runs(self, experiment: ExperimentRecord) -> list[StageRecord]:
        """Return the newest run of every stage, in the order of the stages."""
        return (await self.records.stages.of_experiments([experiment]))[experiment.id]

    async def run_step(
        self, experiment: ExperimentRecord, stage: str, parameters: Mapping[str, object], warnings: Sequence[str]
    ) -> tuple[ExperimentRecord, StageRecord]:
        """Run a stage, or plan it when an earlier one is still running; log the warnings.

        The first stage reads the files that were uploaded until then. A stage that is under way with the same
        parameters goes on. Return the experiment after that and the run.
        """
        run = await self.records.stages.get(experiment.id, stage)
        if run.status.active or stage in experiment.planned:
            under_way = experiment.planned.get(stage, run.config)
            if under_way == parse_parameters(stage, {**experiment.parameters.get(stage, {}), **parameters}):
                return experiment, run
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
        for warning in warnings:
            await self.experiments.notifier.log(experiment, warning, level="WARNING", stage=stage)
        return await self.records.experiments.get(experiment.id), run

    async def note_request(
        self, exp_id: str, stage: str, *, refusal: SovitsError | None = None, skipped: str = ""
    ) -> ExperimentRecord:
        """Record which stage the client of a task requested last, and why it does not run, if so.

        An empty `stage` leaves the one before it: that step does not exist.
        """
        async with self.records.experiments.transaction(exp_id) as transaction:
            experiment = transaction.experiment
            if experiment.dialect != STEPWISE_DIALECT:
                return experiment
            before = experiment.stepwise
            state: StepwiseState = {"task_name": before.get("task_name", experiment.exp_name)}
            if requested := stage or before.get("requested_stage", ""):
                state["requested_stage"] = requested
            if refusal is not None:
                state["refusal"] = refusal.as_dict()
                if not any(status.active for status in transaction.statuses.values()):
                    transaction.set_experiment(status=ExperimentStatus.FAILED)
            if skipped:
                state["skipped"] = skipped
            transaction.set_experiment(stepwise=state)
        return transaction.experiment

    async def cancel(self, experiment: ExperimentRecord) -> ExperimentRecord:
        """Cancel what runs or waits; the task is cancelled afterwards, whether there was anything or not."""
        await self.experiments.stages.cancel_all(experiment.id)
        async with self.records.experiments.transaction(experiment.id) as transaction:
            if experiment.dialect == STEPWISE_DIALECT:
                state: StepwiseState = {**transaction.experiment.stepwise, "cancelled": True}
                state.pop("refusal", None)
                transaction.set_experiment(stepwise=state, status=ExperimentStatus.CANCELLED)
        return transaction.experiment

    async def precision_warnings(self, parameters: Mapping[str, object]) -> list[str]:
        """Return a sentence when half precision is asked for and every preprocessor runs on a CPU."""
        if parameters.get("precision") != "float16":
            return []
        devices = worker_devices(await self.experiments.jobs.queue.workers(), PREPROCESSOR)
        if not devices or any(device.startswith("cuda") for device in devices):
            return []
        return ["precision float16 runs as float32: there is no GPU."]

    async def resolve_names(self, experiment: ExperimentRecord, parameters: Mapping[str, object]) -> dict[str, object]:
        """Return parameters of test_inference with ids for the file names of the task.

        Raises:
            NotFound: neither a file of the task nor an id.
            InvalidParameter: a file of another kind.
        """
        resolved = dict(parameters)
        files = await self.files(experiment)
        for name, kind in (("gpt_model", "gpt"), ("sovits_model", "sovits")):
            if not (value := str(resolved.get(name) or "")):
                continue
            file = files.get(value)
            if file is None and value.startswith("ckpt-"):
                file = await self.records.checkpoints.get(value)
            if file is None:
                raise _unknown_file(name, value, "a checkpoint's id, or the name of one in the task's list")
            if not isinstance(file, CheckpointRecord) or file.kind != kind:
                raise InvalidParameter(f"{name} is {value!r}, which is no {kind} model", details={"parameters": [name]})
            resolved[name] = file.id
        if value := str(resolved.get("ref_audio") or ""):
            file = files.get(value)
            if file is None and value.startswith("file-"):
                upload = await self.records.files.get(value)
                file = upload if upload.purpose in (experiment.id, DEFAULT_PURPOSE) else None
            if not isinstance(file, FileRecord):
                raise _unknown_file("ref_audio", value, "the name or the id of an upload")
            resolved["ref_audio"] = file.id
        return resolved

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
                if file.filename == record.filename and file.id != record.id:
                    await self.uploads.delete(file.id)
        except Conflict:
            await self.uploads.delete(record.id)
            raise
        return record, sorted({file.filename for file in existing} | {record.filename})

    async def files(self, experiment: ExperimentRecord) -> StepTaskFiles:
        """Return uploads, checkpoints and test audio by file name; of two with the same name the newer one."""
        files: StepTaskFiles = {}
        for checkpoint in (await self.records.checkpoints.page(MAX_FILES, exp_id=experiment.id)).items:
            extension = PurePosixPath(checkpoint.storage_key).suffix
            label = f"{experiment.exp_name}_{checkpoint.kind}_e{checkpoint.epoch or 0}{extension}"
            files.setdefault(safe_label(label), checkpoint)
        for file in await self._uploads(experiment):
            files.setdefault(file.filename, file)
        test = await self.records.stages.get(experiment.id, "test_inference")
        if isinstance(key := test.outputs.get("sample"), str):
            with contextlib.suppress(NotFound, FileNotFoundError):
                size = await asyncio.to_thread(self.storage.size, key)
                name = "test_inference.wav" if SAMPLE in files else SAMPLE
                files.setdefault(name, StepTaskAudio(test.job_id, key, size))
        return files

    async def _uploads(self, experiment: ExperimentRecord) -> list[FileRecord]:
        """Return the uploads of a task, newest first; their purpose is the task's id."""
        return (await self.records.files.page(MAX_FILES, 0, experiment.id)).items


def _unknown_file(parameter: str, value: str, allowed: str) -> NotFound:
    return NotFound(
        f"{parameter} is {value[:200]!r}, which is nothing that this task knows.",
        hint=f"It takes {allowed}; left out, the task's best is used.",
    )
