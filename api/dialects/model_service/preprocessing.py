"""Preprocessing of the model service: data sets, split, augmented, cropped."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field
from typing_extensions import TypedDict

from api.dependencies import Api, ApiServices
from api.dialects.model_service.envelope import Envelope, enveloped
from api.dialects.model_service.inputs import Inputs, ModelServiceRequest, check_device, ingest_inputs
from api.http.access import TRAINING
from api.http.disconnect import while_connected
from api.http.errors import InvalidBody
from api.http.sse import EventStream, LastEventId
from api.services.result_uploads import ResultUploadState, enqueue_result_upload, result_upload_state
from core.datasets import DatasetJob
from core.datasets.options import AugmentOptions, CropOptions, DatasetLanguage, DatasetSource, SplitOptions
from core.errors import QueueUnavailable, error_message
from core.jobs.job import JobStatus
from core.jobs.roles import PREPROCESSOR
from core.names import Name
from core.records import DatasetStatus

router = APIRouter(prefix="/preprocessing", dependencies=[TRAINING])

PreprocessingStatus = Literal["queued", "running", "completed", "failed", "cancelled"]


class PreprocessingStart(ModelServiceRequest):
    """Recordings, which become a new data set, or a data set, which gets a new version."""

    inputs: Inputs = Field(default=[])
    dataset_id: str = Field("", max_length=64, description="A data set, instead of inputs.")
    name: Name = Field("", max_length=100, description="Name of the data set that the inputs become.")
    language: DatasetLanguage = Field("auto", description="Language of the inputs.")
    priority: int = Field(5, ge=1, le=10, description="10 runs first.")


class SplitStart(PreprocessingStart, SplitOptions):
    """Divide the segments into train, val and test."""


class AugmentStart(PreprocessingStart, AugmentOptions):
    """Add copies with noise, another pitch, another tempo or reverberation."""


class CropStart(PreprocessingStart, CropOptions):
    """Keep a time range of every recording."""


class PreprocessingView(TypedDict):
    """A preprocessing job, and the version of the data set that it creates."""

    id: str
    type: Literal["preprocessing"]
    kind: str
    status: PreprocessingStatus
    progress: float
    message: str
    error_message: str | None
    dataset_id: str
    dataset_version: int
    upload: ResultUploadState | None


@router.post("/split", response_model=Envelope[PreprocessingView])
async def split(new: SplitStart, request: Request, api: Api) -> Response:
    """Divide the segments into train, val and test. URLs among the inputs are downloaded before the response."""
    source = await _checked_source(api, request, new)
    options = SplitOptions(**_options(new, SplitOptions))
    return await _started(api, new, await api.datasets.split(source, options, priority=new.priority))


@router.post("/augment", response_model=Envelope[PreprocessingView])
async def augment(new: AugmentStart, request: Request, api: Api) -> Response:
    """Add copies with noise, another pitch, another tempo or reverberation."""
    source = await _checked_source(api, request, new)
    options = AugmentOptions(**_options(new, AugmentOptions))
    return await _started(api, new, await api.datasets.augment(source, options, priority=new.priority))


@router.post("/crop", response_model=Envelope[PreprocessingView])
async def crop(new: CropStart, request: Request, api: Api) -> Response:
    """Keep a time range of every recording."""
    source = await _checked_source(api, request, new)
    options = CropOptions(**_options(new, CropOptions))
    return await _started(api, new, await api.datasets.crop(source, options, priority=new.priority))


@router.get("/{job_id}", response_model=Envelope[PreprocessingView])
async def get(job_id: str, api: Api) -> Response:
    """Get the status of a preprocessing job, with its progress in percent."""
    return enveloped(await preprocessing_view(api, await api.datasets.get_job(job_id)))


@router.get("/{job_id}/logs", response_class=EventStream)
async def follow_logs(job_id: str, api: Api, last_event: LastEventId = "") -> Response:
    """Stream the log of a preprocessing job: events `log`, and finally its end."""
    await api.datasets.get_job(job_id)
    return await api.sse.respond(await api.logs.job(job_id), last_event)


async def preprocessing_view(api: ApiServices, dataset_job: DatasetJob) -> PreprocessingView:
    """Return a job on a data set as the model service shows it."""
    status, progress = await _status_and_percent(api, dataset_job)
    return {
        "id": dataset_job.job_id,
        "type": "preprocessing",
        "kind": dataset_job.kind,
        "status": status,
        "progress": progress,
        "message": dataset_job.message,
        "error_message": error_message(dataset_job.error) if dataset_job.error else None,
        "dataset_id": dataset_job.dataset_id,
        "dataset_version": dataset_job.version,
        "upload": await result_upload_state(api.queue, dataset_job.job_id),
    }


async def _status_and_percent(api: ApiServices, dataset_job: DatasetJob) -> tuple[PreprocessingStatus, float]:
    """Return how a job has ended by the records, else its progress by the queue."""
    if dataset_job.status is DatasetStatus.READY:
        return "completed", 100.0
    if dataset_job.status is DatasetStatus.FAILED:
        cancelled = dataset_job.error is not None and dataset_job.error.get("code") == "cancelled"
        return ("cancelled" if cancelled else "failed"), 0.0
    try:
        job = await api.queue.job(dataset_job.job_id)
        history = await api.queue.event_history(dataset_job.job_id)
    except QueueUnavailable:
        return "queued", 0.0
    running = job is not None and job.status is JobStatus.PROCESSING
    progress = [float(event.data.get("progress", 0.0)) for event in history if event.kind == "progress"]
    return ("running" if running else "queued"), round(100 * progress[-1], 1) if progress else 0.0


async def _checked_source(api: ApiServices, request: Request, new: PreprocessingStart) -> DatasetSource:
    """Check the request, download its URLs, and return what the job works on."""
    new.checked_upload_url(api)
    await check_device(api, new.device, PREPROCESSOR)
    if bool(new.inputs) == bool(new.dataset_id):
        raise InvalidBody(
            "There is one thing to work on: `inputs` or `dataset_id`.",
            hint="Inputs are URLs, or ids from POST /api/v1/files.",
            details={"fields": ["inputs", "dataset_id"]},
        )
    if new.dataset_id:
        return DatasetSource(dataset_id=new.dataset_id)
    files = await while_connected(request, ingest_inputs(api, new.inputs))
    return DatasetSource(file_ids=[file.id for file in files], name=new.name, language=new.language)


async def _started(api: ApiServices, new: PreprocessingStart, dataset_job: DatasetJob) -> Response:
    await enqueue_result_upload(api.queue, dataset_job.job_id, new.checked_upload_url(api), new.priority)
    return enveloped(await preprocessing_view(api, dataset_job))


def _options(new: PreprocessingStart, options: type[Any]) -> dict[str, Any]:
    return new.model_dump(include=set(options.model_fields))
