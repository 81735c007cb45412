"""Trainings of the model service: tasks of ours under its names."""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Header, Response
from fastapi import Request as HttpRequest
from pydantic import Field
from typing_extensions import TypedDict

from api.dependencies import Api, Services
from api.dialects.model_service.envelope import Envelope, enveloped
from api.dialects.model_service.inputs import Inputs, Request, gather
from api.dialects.model_service.logs import training_stream
from api.http.disconnect import while_connected
from api.http.errors import BadBody
from api.http.idempotency import RequestKey
from api.http.schedule import ScheduleAt, moment
from api.http.sse import EventStream, last_event_id
from api.routes import logs
from api.routes.tasks import Version
from common.languages import RecordingLanguage
from core.experiments.requests import TaskRequest, merge_parameters
from core.experiments.sources import ExperimentSource, source_of_files
from core.records import StageRecord, TaskRecord, TaskStatus, iso
from core.speech.result_uploads import ResultUpload, upload_job_id
from core.stages.order import stage_order
from core.stages.stage import STAGES

router = APIRouter(prefix="/training")


class TrainingStart(Request):
    """A voice to be made: of recordings, or of a data set."""

    exp_name: str = Field(min_length=1, max_length=100, description="The voice's name.")
    inputs: Inputs = Field(default=[])
    dataset_id: str | None = Field(None, max_length=64, description="In place of inputs.")
    dataset_version: int | None = Field(None, ge=1, le=2**31 - 1, description="The newest when none is named.")
    version: Version = "v2"
    language: RecordingLanguage = Field("zh", description="Of a data set, without one, its own.")
    quality: Literal["fast", "standard", "high"] = "standard"
    epochs: int | None = Field(None, ge=1, le=100, description="Of both trainings, in place of the quality's.")
    batch_size: int | None = Field(None, ge=1, le=32, description="Of both trainings.")
    parameters: dict[str, dict[str, Any]] = Field({}, description="Stage → its parameters, over everything else.")
    priority: int = Field(5, ge=1, le=10, description="10 goes first.")
    schedule_at: ScheduleAt = None
    webhook_url: str = Field("", max_length=2000, description="Told of the training's end.")

    def stage_parameters(self) -> dict[str, dict[str, Any]]:
        """Stage → what was asked for."""
        given = {"total_epoch": self.epochs, "batch_size": self.batch_size}
        both = {name: value for name, value in given.items() if value is not None}
        chosen = {stage: dict(both) for stage in ("sovits_train", "gpt_train") if both}
        for stage, values in self.parameters.items():
            chosen[stage] = {**chosen.get(stage, {}), **values}
        return chosen


class UploadState(TypedDict):
    """What came of sending the results."""

    status: str
    error_message: str | None


WAITS: UploadState = {"status": "waiting", "error_message": None}


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
    latest_metrics: dict[str, Any]
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
    upload: UploadState | None


@router.post("/start", response_model=Envelope[TrainingView])
async def start(new: TrainingStart, request: HttpRequest, api: Api, key: RequestKey) -> Response:
    """Begin a training; what URLs name is read before the answer."""
    upload_url = new.checked_upload_url(api)
    webhook_url = api.webhooks.check_url(new.webhook_url) if new.webhook_url else ""
    await api.experiments.jobs.check_device(new.device)
    merge_parameters({}, new.stage_parameters(), new.version)  # before anything is read or made
    source = await while_connected(request, _source(api, new))
    task = await api.experiments.tasks.create(
        TaskRequest(
            new.exp_name,
            source.audio_file_id,
            version=new.version,
            language=new.language if "language" in new.model_fields_set or not new.dataset_id else "",
            quality=new.quality,
            priority=new.priority,
            idempotency_key=key,
            dataset_id=source.dataset_id,
            dataset_version=source.dataset_version,
            webhook_url=webhook_url,
            schedule_at=moment(new.schedule_at),
            device=new.device,
            parameters=new.stage_parameters(),
            accept_preparing=True,
            upload_url=upload_url,
        )
    )
    return enveloped(await training_view(api, task))


@router.get("/{training_id}", response_model=Envelope[TrainingView])
async def get(training_id: str, api: Api) -> Response:
    """Where a training is."""
    return enveloped(await training_view(api, await api.records.tasks.get(training_id)))


@router.get("/{training_id}/logs", response_class=EventStream)
async def follow_logs(
    training_id: str, api: Api, last_event: Annotated[str, Header(alias="Last-Event-ID")] = ""
) -> Response:
    """Events `log` with timestamp, level, message, and of an epoch its metrics; at last the end."""
    log = await logs.of_task(api, training_id)
    return EventStream(training_stream(api, log, last_event_id(last_event)))


@router.post("/{training_id}/stop", response_model=Envelope[TrainingView])
async def stop(training_id: str, api: Api) -> Response:
    """Stop a training within seconds; what is finished stays, and one that has ended stays as it is."""
    return enveloped(await training_view(api, await api.experiments.tasks.cancel(training_id)))


async def training_view(api: Services, task: TaskRecord) -> TrainingView:
    """A task as the model service shows it."""
    experiment = await api.records.experiments.get(task.exp_id)
    runs = (await api.records.stages.of_experiments([experiment]))[experiment.id]
    trains = _training(task, runs)
    settled = trains.config or experiment.parameters.get(trains.stage, {})
    ends_at = task.completed_at or api.experiments.clock()
    return {
        "id": task.id,
        "type": "training",
        "exp_name": task.exp_name,
        "status": task.status,
        "progress": round(100 * task.overall_progress, 1),
        "stage": task.current_stage,
        "current_epoch": int(trains.metrics.get("epoch") or 0),
        "total_epochs": int(trains.metrics.get("total_epochs") or settled.get("total_epoch") or 0),
        "latest_metrics": trains.metrics,
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
        "upload": (await upload_state(api, task.id) or WAITS) if task.upload_url else None,
    }


async def upload_state(api: Services, id_: str) -> UploadState | None:
    """Of the job that sends the results, if there is one."""
    job = await api.queue.job(upload_job_id(id_))
    if job is None:
        return None
    result = cast(ResultUpload, job.result or {})
    error = str(job.error.get("message", "")) if job.error else result.get("reason")
    return {"status": job.status, "error_message": error}


def _training(task: TaskRecord, runs: list[StageRecord]) -> StageRecord:
    """The stage whose epochs are shown: the one that trains, else the last that did, else the first that will."""
    trainings = [run for run in runs if STAGES[run.stage].trains]
    for run in trainings:
        if run.stage == task.current_stage and task.status is not TaskStatus.COMPLETED:
            return run
    begun = [run for run in trainings if run.metrics]
    first = next(name for name in stage_order(task.version) if STAGES[name].trains)
    return begun[-1] if begun else next((run for run in trainings), StageRecord(task.exp_id, first))


async def _source(api: Services, new: TrainingStart) -> ExperimentSource:
    if bool(new.inputs) == bool(new.dataset_id):
        raise BadBody(
            "A training begins from one thing: `inputs` or `dataset_id`.",
            hint="Inputs are URLs, or ids from POST /api/v1/files.",
            details={"fields": ["inputs", "dataset_id"]},
        )
    if new.dataset_id:
        return ExperimentSource(dataset_id=new.dataset_id, dataset_version=new.dataset_version)
    files = await gather(api, new.inputs)
    return await source_of_files(api.datasets, files, new.exp_name, language=new.language, priority=new.priority)
