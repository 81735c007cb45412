"""Trainings of the model service: tasks under its names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Response
from pydantic import Field

from api.dependencies import Api, ApiServices
from api.dialects.model_service.envelope import Envelope, enveloped
from api.dialects.model_service.inputs import (
    CPU,
    GPU,
    Description,
    Device,
    InputPath,
    InputSource,
    Label,
    ResultUploadFields,
    TaskRequestFields,
    choose_device,
    find_input,
)
from api.dialects.model_service.logs import ModelServiceLogFeed
from api.dialects.model_service.metrics import latest_metrics
from api.dialects.model_service.tasks import (
    STATUSES,
    TaskActionResponse,
    TaskResponse,
    ended_task_response,
    our_id,
    percent,
    reserved_task_id,
    with_notes,
)
from api.http.access import TRAINING
from api.http.errors import InvalidBody
from api.http.idempotency import IdempotencyKey
from api.http.schedule import ScheduleAt, scheduled_time
from api.http.schemas import JsonObjectBody
from api.http.sse import EventStream, LastEventId
from api.services.result_uploads import ResultUploadState, result_upload_state
from api.services.trained_language import warn_of_unknown_language
from common.languages import RecordingLanguage
from common.versions import VERSIONS
from core.errors import InvalidRequest, NotFound
from core.experiments.requests import TaskRequest, merge_parameters
from core.experiments.sources import ExperimentSource, source_of_files
from core.jobs.job import WorkerInfo
from core.jobs.roles import TRAINER
from core.records import ExperimentRecord, StageRecord, TaskLabels, TaskRecord, TaskStatus, iso
from core.stages.order import stage_order
from core.stages.stage import STAGES

router = APIRouter(prefix="/training", dependencies=[TRAINING])

STOPPED: Final = "训练任务已停止"
MAX_EPOCHS: Final = 100
MAX_BATCH_SIZE: Final = 32
DEFAULT_BATCH_SIZE: Final = 8
MAX_NAME: Final = 100
_BASE_PARAMETERS: Final = {"gpt": ("gpt_train", "pretrained_s1"), "sovits": ("sovits_train", "pretrained_s2G")}
"""Kind of a checkpoint → the stage that begins from it, and its parameter."""
_PENDING_UPLOAD: Final[ResultUploadState] = {"status": "waiting", "error_message": None}


class TrainingStart(TaskRequestFields, ResultUploadFields):
    """A voice to make of recordings."""

    model: str = Field(min_length=1, max_length=200, description="A version; any other name trains the default one.")
    num_classes: int = Field(description="Ignored.")
    train_path: InputPath
    val_path: str = Field(max_length=2000, description="Recordings that are not trained on; may be train_path.")
    save_path: Label = Field(description="A label; its last part names the voice unless `name` does.")
    name: Annotated[Label, Field(min_length=1, max_length=MAX_NAME)] | None = Field(
        None, description="Name of the voice."
    )
    batch_size: int = Field(DEFAULT_BATCH_SIZE, ge=1, description="Batch size of both trainings.")
    num_epochs: int | None = Field(
        None, ge=1, description="Epochs of both trainings, 100 at most. Default: those of the quality."
    )
    learning_rate: float | None = Field(None, gt=0, description="Ignored: the recipe has rates of its own.")
    image_size: int = Field(224, ge=32, description="Ignored.")
    device: Device = GPU
    weight_path: str = Field("", max_length=2000, description="Id of a checkpoint to begin from.")
    pretrained: bool = Field(True, description="Ignored.")
    shuffle: bool = Field(True, description="Ignored.")
    strategy_type: Description | None = None
    language: RecordingLanguage = Field("auto", description="Language of the recordings.")
    quality: Literal["fast", "standard", "high"] = "standard"
    parameters: dict[str, JsonObjectBody] = Field(
        {}, description="Stage → its parameters, which take precedence over everything else."
    )
    schedule_at: Annotated[ScheduleAt, Field(strict=False)] = None
    webhook_url: str = Field("", max_length=2000, description="Receives a POST when the training ends.")

    def voice_name(self) -> str:
        """Return the name of the voice."""
        name = self.name or self.save_path.rstrip("/\\").replace("\\", "/").rpartition("/")[2]
        if not name.strip():
            raise InvalidBody(
                "save_path is empty.", hint="Its last part names the voice.", details={"fields": ["name"]}
            )
        return name[:MAX_NAME]

    def stage_parameters(self) -> dict[str, JsonObjectBody]:
        """Return stage → the parameters that the request sets."""
        shared: JsonObjectBody = {"batch_size": min(self.batch_size, MAX_BATCH_SIZE)}
        if self.num_epochs is not None:
            shared["total_epoch"] = min(self.num_epochs, MAX_EPOCHS)
        by_stage: dict[str, JsonObjectBody] = {stage: dict(shared) for stage in ("sovits_train", "gpt_train")}
        for stage, parameters in self.parameters.items():
            by_stage[stage] = {**by_stage.get(stage, {}), **parameters}
        return by_stage

    def warnings(self) -> list[str]:
        """Return a sentence for each field that is used otherwise than its sender expects."""
        sentences = self.unknown_fields()
        if self.batch_size > MAX_BATCH_SIZE:
            sentences.append(f"batch_size {self.batch_size} is more than {MAX_BATCH_SIZE}, which is used.")
        if (self.num_epochs or 0) > MAX_EPOCHS:
            sentences.append(f"num_epochs {self.num_epochs} is more than {MAX_EPOCHS}, which is used.")
        if self.learning_rate is not None:
            sentences.append("learning_rate changes nothing: the recipe has rates of its own.")
        return sentences


class TrainingView(TaskResponse):
    """A training."""

    current_epoch: int
    total_epochs: int
    latest_metrics: dict[str, Any] | None
    duration: float
    strategy_type: str | None
    name: str
    save_path: str | None
    stage: str
    error_message: str | None
    started_at: str | None
    completed_at: str | None
    voice_id: str | None
    exp_id: str
    upload: ResultUploadState | None


@router.post("/start", response_model=Envelope[TrainingView])
async def start(new: TrainingStart, api: Api, key: IdempotencyKey) -> Response:
    """Start a training. The response comes at once; what a URL names is downloaded in the task."""
    destination = new.checked_upload(api)
    webhook_url = api.webhooks.check_url(new.webhook_url) if new.webhook_url else ""
    name, schedule_at, warnings = new.voice_name(), scheduled_time(new.schedule_at), new.warnings()
    device = await choose_device(api, new.device, TRAINER)
    named_version = _find_version(new.model)
    if not named_version:
        warnings.append(f"{new.model!r} is no version: the default one is trained.")
    parameters = await _with_base(api, new, named_version, warnings)
    version = await api.experiments.versions.choose(named_version, new.language, parameters)
    merge_parameters({}, parameters, version)  # before anything is created
    training = await find_input(api, "train_path", new.train_path)
    if await _is_held_out(api, new):
        warnings.append("The recordings of val_path are not trained on; no loss is computed on them.")
    priority = new.priority or api.settings.default_train_priority
    labels: TaskLabels = {
        "description": new.description,
        "strategy_type": new.strategy_type,
        "save_path": new.save_path,
        "device": device.shown,
        "device_note": device.note,
        "warnings": [device.note, *warnings] if device.note else warnings,
    }
    if destination.token:
        labels["upload_token"] = destination.token
    async with reserved_task_id(api, new.task_id) as reservation:
        if new.task_id is not None:
            labels["task_id"] = new.task_id
        source = await _source(api, training, name, new.language, priority)
        request = TaskRequest(
            name,
            source.audio_file_id,
            version=version,
            language=new.language,
            quality=new.quality,
            priority=priority,
            idempotency_key=key,
            dataset_id=source.dataset_id,
            dataset_version=source.dataset_version,
            webhook_url=webhook_url,
            schedule_at=schedule_at,
            device=device.constraint,
            parameters=parameters,
            accept_preparing=True,
            upload_url=destination.url,
            labels=labels,
        )
        task = await api.experiments.tasks.create(request)
        reservation.task_id = task.id
    warn_of_unknown_language(task.version, task.language)
    return enveloped(await training_view(api, task))


@router.get("/{training_id}", response_model=Envelope[TrainingView])
async def get(training_id: str, api: Api) -> Response:
    """Get the status of a training: progress in percent, epoch and newest metrics."""
    return enveloped(await training_view(api, await find_training(api, training_id)))


@router.get("/{training_id}/logs", response_class=EventStream)
async def follow_logs(training_id: str, api: Api, last_event: LastEventId = "") -> Response:
    """Stream the log of a training: timestamp, level, message, and where there are any metrics, step and stage."""
    task = await find_training(api, training_id)
    return await api.sse.respond(ModelServiceLogFeed(await api.logs.task(task.id)), last_event)


@router.post("/{training_id}/stop", response_model=Envelope[TaskActionResponse])
async def stop(training_id: str, api: Api) -> Response:
    """Stop a training within seconds. What is finished is kept; one that has ended is left unchanged."""
    task = await find_training(api, training_id)
    if task.status.terminal:
        return enveloped(ended_task_response(training_id, task.status))
    await api.experiments.tasks.cancel(task.id)
    return enveloped(TaskActionResponse(status="success", message=STOPPED, task_id=training_id))


async def find_training(api: ApiServices, training_id: str) -> TaskRecord:
    """Return a training by the id that its client chose or by ours."""
    return await api.records.tasks.get(await our_id(api, training_id))


async def training_view(api: ApiServices, task: TaskRecord) -> TrainingView:
    """Return a task as the model service shows it."""
    experiment, runs = await api.records.stages.with_experiment(task.exp_id)
    workers = await api.queue.workers() if _may_be_anywhere(task) else []
    return await _training_view(api, task, experiment, runs, workers)


async def training_views(api: ApiServices, tasks: Sequence[TaskRecord]) -> list[TrainingView]:
    """Return tasks as the model service shows them."""
    experiments = await api.records.experiments.of_ids([task.exp_id for task in tasks])
    runs = await api.records.stages.of_experiments(list(experiments.values()))
    workers = await api.queue.workers() if any(map(_may_be_anywhere, tasks)) else []
    return [
        await _training_view(api, task, experiments[task.exp_id], runs[task.exp_id], workers)
        for task in tasks
        if task.exp_id in experiments  # not deleted meanwhile
    ]


async def _training_view(
    api: ApiServices,
    task: TaskRecord,
    experiment: ExperimentRecord,
    runs: list[StageRecord],
    workers: Sequence[WorkerInfo],
) -> TrainingView:
    labels = task.labels
    training = _shown_training(task, runs)
    parameters = training.config or experiment.parameters.get(training.stage, {})
    total_epochs = int(training.metrics.get("total_epochs") or parameters.get("total_epoch") or 0)
    ends_at = task.completed_at or api.experiments.clock()
    upload = (await result_upload_state(api.queue, task.id) or _PENDING_UPLOAD) if task.upload_url else None
    view: TrainingView = {
        "task_id": labels.get("task_id", task.id),
        "task_type": "training",
        "status": STATUSES[task.status],
        "message": with_notes(task.message, labels.get("device_note", ""), upload_note(upload)),
        "progress": percent(task.overall_progress, completed=task.status is TaskStatus.COMPLETED),
        "device": _device(task, experiment, workers),
        "priority": task.priority,
        "description": labels.get("description"),
        "created_at": iso(task.created_at),
        "updated_at": iso(max(experiment.updated_at, task.completed_at or 0.0)),
        "current_epoch": int(training.metrics.get("epoch") or 0),
        "total_epochs": total_epochs,
        "latest_metrics": latest_metrics(training.metrics, total_epochs),
        "duration": round(max(0.0, ends_at - task.started_at), 3) if task.started_at else 0.0,
        "strategy_type": labels.get("strategy_type"),
        "name": task.exp_name,
        "save_path": labels.get("save_path"),
        "stage": task.current_stage,
        "error_message": task.error_message,
        "started_at": iso(task.started_at),
        "completed_at": iso(task.completed_at),
        "voice_id": task.voice_id,
        "exp_id": task.exp_id,
        "upload": upload,
    }
    if warnings := labels.get("warnings"):
        view["warnings"] = warnings
    return view


def _may_be_anywhere(task: TaskRecord) -> bool:
    """Return whether only the worker of a training knows on which device it is."""
    return task.status is TaskStatus.RUNNING and task.labels.get("device") in (None, GPU)


def upload_note(upload: ResultUploadState | None) -> str:
    """Return a sentence when results could not be sent."""
    if upload is None or not upload["error_message"]:
        return ""
    return f"The results were not sent: {upload['error_message']}"


def _device(task: TaskRecord, experiment: ExperimentRecord, workers: Sequence[WorkerInfo]) -> str:
    """Return the device in use; before, the one that was asked for."""
    for worker in workers:
        if worker.job.startswith(f"{task.exp_id}."):
            return worker.device
    if device := task.labels.get("device") or experiment.device:
        return device
    has_gpu = any(worker.role == TRAINER and worker.device.startswith(GPU) for worker in workers)
    return GPU if has_gpu else CPU


def _shown_training(task: TaskRecord, runs: list[StageRecord]) -> StageRecord:
    """Return the run whose epochs are shown: the training that runs, else the last one that did, else the first."""
    trainings = [run for run in runs if STAGES[run.stage].trains]
    for run in trainings:
        if run.stage == task.current_stage and task.status is not TaskStatus.COMPLETED:
            return run
    started = [run for run in trainings if run.metrics]
    if started:
        return started[-1]
    first = next(name for name in stage_order(task.version) if STAGES[name].trains)
    return trainings[0] if trainings else StageRecord(task.exp_id, first)


def _find_version(model: str) -> str:
    """Return the version of that name; empty for a name of something else."""
    return next((version for version in VERSIONS if version.lower() == model.strip().lower()), "")


async def _with_base(
    api: ApiServices, new: TrainingStart, version: str, warnings: list[str]
) -> dict[str, JsonObjectBody]:
    """Return the parameters of the stages with the checkpoint that the training begins from, if one is named."""
    parameters = new.stage_parameters()
    if not new.weight_path:
        return parameters
    if not new.weight_path.startswith("ckpt-"):
        warnings.append("weight_path is no checkpoint's id: the training begins from the version's base.")
        return parameters
    checkpoint = await api.records.checkpoints.get(new.weight_path)
    if version and checkpoint.version != version:
        raise InvalidRequest(
            f"weight_path is {checkpoint.id}, of version {checkpoint.version}; {version} is trained.",
            hint="Send that version as `model`.",
        )
    stage, parameter = _BASE_PARAMETERS[checkpoint.kind]
    parameters[stage] = {parameter: checkpoint.id, **parameters[stage]}
    return parameters


async def _is_held_out(api: ApiServices, new: TrainingStart) -> bool:
    """Return whether val_path names recordings of its own that the server knows."""
    if not new.val_path or new.val_path == new.train_path:
        return False
    try:
        await find_input(api, "val_path", new.val_path)
    except NotFound:
        return False
    return True


async def _source(
    api: ApiServices, training: InputSource, name: str, language: RecordingLanguage, priority: int
) -> ExperimentSource:
    """Return what the training begins from; of a URL or a ZIP a data set is made by a job."""
    if training.dataset_id:
        return ExperimentSource(dataset_id=training.dataset_id)
    if training.urls:
        dataset = await api.datasets.create(name, [], urls=training.urls, language=language, priority=priority)
        return ExperimentSource(dataset_id=dataset.id, dataset_version=dataset.latest)
    return await source_of_files(api.datasets, training.files, name, language=language, priority=priority)
