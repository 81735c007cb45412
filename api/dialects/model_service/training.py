"""Trainings of the model service: tasks under its names."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field
from typing_extensions import TypedDict

from api.dependencies import Api, ApiServices
from api.dialects.model_service.envelope import Envelope, enveloped
from api.dialects.model_service.inputs import Inputs, ModelServiceRequest, ingest_inputs
from api.dialects.model_service.logs import TrainingLogFeed
from api.http.access import TRAINING
from api.http.disconnect import while_connected
from api.http.errors import InvalidBody
from api.http.idempotency import IdempotencyKey
from api.http.schedule import ScheduleAt, scheduled_time
from api.http.schemas import JsonObjectBody, JsonObjectView
from api.http.sse import EventStream, LastEventId
from api.services.result_uploads import ResultUploadState, result_upload_state
from common.languages import RecordingLanguage
from common.versions import RequestedVersion
from core.experiments.requests import TaskRequest, merge_parameters
from core.experiments.sources import ExperimentSource, source_of_files
from core.names import Name
from core.records import StageRecord, TaskRecord, TaskStatus, iso
from core.stages.order import stage_order
from core.stages.stage import STAGES

router = APIRouter(prefix="/training", dependencies=[TRAINING])

_PENDING_UPLOAD: ResultUploadState = {"status": "waiting", "error_message": None}


class TrainingStart(ModelServiceRequest):
    """A voice to make, of recordings or of a data set."""

    exp_name: Name = Field(min_length=1, max_length=100, description="Name of the voice.")
    inputs: Inputs = Field(default=[])
    dataset_id: str | None = Field(None, max_length=64, description="A data set, instead of inputs.")
    dataset_version: int | None = Field(None, ge=1, le=2**31 - 1, description="Default: the newest version.")
    version: RequestedVersion | None = Field(None, description="Default: that of the server; auto: the best installed.")
    language: RecordingLanguage = Field("zh", description="Default for a data set: its own language.")
    quality: Literal["fast", "standard", "high"] = "standard"
    epochs: int | None = Field(
        None, ge=1, le=100, description="Epochs of both trainings. Default: those of the quality."
    )
    batch_size: int | None = Field(None, ge=1, le=32, description="Batch size of both trainings.")
    parameters: dict[str, JsonObjectBody] = Field(
        {}, description="Stage → its parameters, which take precedence over everything else."
    )
    priority: int = Field(5, ge=1, le=10, description="10 runs first.")
    schedule_at: ScheduleAt = None
    webhook_url: str = Field("", max_length=2000, description="Receives a POST when the training ends.")

    def stage_parameters(self) -> dict[str, JsonObjectBody]:
        """Return stage → the parameters that the request sets."""
        values = {"total_epoch": self.epochs, "batch_size": self.batch_size}
        shared = {name: value for name, value in values.items() if value is not None}
        by_stage: dict[str, JsonObjectBody] = {stage: dict(shared) for stage in ("sovits_train", "gpt_train") if shared}
        for stage, parameters in self.parameters.items():
            by_stage[stage] = {**by_stage.get(stage, {}), **parameters}
        return by_stage


class TrainingView(TypedDict):
    """A training."""

    id: str
    type: Literal["training"]
    exp_name: str
    status: str
    progress: float
    stage: str
    current_epoch: int
    total_epochs: int
    latest_metrics: JsonObjectView
    duration: float
    device: str
    priority: int
    message: str
    error_message: str | None
    created_at: str | None
    started_at: str | None
    completed_at: str | None
    voice_id: str | None
    exp_id: str
    upload: ResultUploadState | None


@router.post("/start", response_model=Envelope[TrainingView])
async def start(new: TrainingStart, request: Request, api: Api, key: IdempotencyKey) -> Response:
    """Start a training on recordings or on a data set.

    URLs among the inputs are downloaded before the response. 422 names an invalid field or parameter.
    """
    upload_url = new.checked_upload_url(api)
    webhook_url = api.webhooks.check_url(new.webhook_url) if new.webhook_url else ""
    await api.experiments.jobs.check_device(new.device)
    version = await api.experiments.versions.choose(new.version or "", new.language, new.stage_parameters())
    merge_parameters({}, new.stage_parameters(), version)  # before anything is downloaded or created
    if bool(new.inputs) == bool(new.dataset_id):
        raise InvalidBody(
            "A training begins from one thing: `inputs` or `dataset_id`.",
            hint="Inputs are URLs, or ids from POST /api/v1/files.",
            details={"fields": ["inputs", "dataset_id"]},
        )
    source = await while_connected(request, _source(api, new))
    language_of_dataset = bool(new.dataset_id) and "language" not in new.model_fields_set
    task_request = TaskRequest(
        new.exp_name,
        source.audio_file_id,
        version=version,
        language="" if language_of_dataset else new.language,
        quality=new.quality,
        priority=new.priority,
        idempotency_key=key,
        dataset_id=source.dataset_id,
        dataset_version=source.dataset_version,
        webhook_url=webhook_url,
        schedule_at=scheduled_time(new.schedule_at),
        device=new.device,
        parameters=new.stage_parameters(),
        accept_preparing=True,
        upload_url=upload_url,
    )
    return enveloped(await training_view(api, await api.experiments.tasks.create(task_request)))


@router.get("/{training_id}", response_model=Envelope[TrainingView])
async def get(training_id: str, api: Api) -> Response:
    """Get the status of a training: progress in percent, epoch and newest metrics."""
    return enveloped(await training_view(api, await api.records.tasks.get(training_id)))


@router.get("/{training_id}/logs", response_class=EventStream)
async def follow_logs(training_id: str, api: Api, last_event: LastEventId = "") -> Response:
    """Stream the log of a training: events `log` with timestamp, level, message and metrics, and finally its end."""
    return await api.sse.respond(TrainingLogFeed(await api.logs.task(training_id)), last_event)


@router.post("/{training_id}/stop", response_model=Envelope[TrainingView])
async def stop(training_id: str, api: Api) -> Response:
    """Stop a training within seconds. What is finished is kept; one that has ended is left unchanged."""
    return enveloped(await training_view(api, await api.experiments.tasks.cancel(training_id)))


async def training_view(api: ApiServices, task: TaskRecord) -> TrainingView:
    """Return a task as the model service shows it."""
    experiment = await api.records.experiments.get(task.exp_id)
    runs = (await api.records.stages.of_experiments([experiment]))[experiment.id]
    training = _shown_training(task, runs)
    parameters = training.config or experiment.parameters.get(training.stage, {})
    ends_at = task.completed_at or api.experiments.clock()
    return {
        "id": task.id,
        "type": "training",
        "exp_name": task.exp_name,
        "status": task.status,
        "progress": round(100 * task.overall_progress, 1),
        "stage": task.current_stage,
        "current_epoch": int(training.metrics.get("epoch") or 0),
        "total_epochs": int(training.metrics.get("total_epochs") or parameters.get("total_epoch") or 0),
        "latest_metrics": training.metrics,
        "duration": round(ends_at - task.started_at, 3) if task.started_at else 0.0,
        "device": experiment.device or "auto",
        "priority": task.priority,
        "message": task.message,
        "error_message": task.error_message,
        "created_at": iso(task.created_at),
        "started_at": iso(task.started_at),
        "completed_at": iso(task.completed_at),
        "voice_id": task.voice_id,
        "exp_id": task.exp_id,
        "upload": (await result_upload_state(api.queue, task.id) or _PENDING_UPLOAD) if task.upload_url else None,
    }


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


async def _source(api: ApiServices, new: TrainingStart) -> ExperimentSource:
    """Return what the training begins from; inputs are downloaded where they are URLs."""
    if new.dataset_id:
        return ExperimentSource(dataset_id=new.dataset_id, dataset_version=new.dataset_version)
    files = await ingest_inputs(api, new.inputs)
    return await source_of_files(api.datasets, files, new.exp_name, language=new.language, priority=new.priority)
