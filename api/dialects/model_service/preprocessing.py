"""Preprocessing of the model service: data sets of ours, split, augmented, cropped."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Response
from fastapi import Request as HttpRequest
from pydantic import Field
from typing_extensions import TypedDict

from api.dependencies import Api, Services
from api.dialects.model_service.envelope import Envelope, enveloped
from api.dialects.model_service.inputs import Inputs, Request, check_device, gather, send_when_done
from api.dialects.model_service.training import UploadState, upload_state
from api.http.disconnect import while_connected
from api.http.errors import BadBody
from api.http.sse import EventStream, last_event_id
from api.routes import logs
from core.datasets import DatasetJob
from core.datasets.options import AugmentOptions, CropOptions, DatasetLanguage, DatasetSource, SplitOptions
from core.errors import QueueUnavailable
from core.jobs.job import JobStatus
from core.jobs.roles import PREPROCESSOR
from core.records import DatasetStatus

router = APIRouter(prefix="/preprocessing")

Status = Literal["queued", "running", "completed", "failed", "cancelled"]


class Preparation(Request):
    """What is worked on: recordings (then a new data set comes of it) or a data set (then a new version)."""

    inputs: Inputs = Field(default=[])
    dataset_id: str = Field("", max_length=64, description="In place of inputs.")
    name: str = Field("", max_length=100, description="Of the data set that inputs become.")
    language: DatasetLanguage = Field("auto", description="What is spoken in the inputs.")
    priority: int = Field(5, ge=1, le=10, description="10 goes first.")


class SplitStart(Preparation, SplitOptions):
    """Deal segments out to train, val and test."""


class AugmentStart(Preparation, AugmentOptions):
    """Add copies with noise, another pitch, another tempo, a room."""


class CropStart(Preparation, CropOptions):
    """Keep a part of every recording, by time."""


class PreparationView(TypedDict):
    """A preparation, and the version of the data set that it makes."""

    id: str
    type: Literal["preprocessing"]
    kind: str
    status: Status
    progress: float
    message: str
    error_message: str | None
    dataset_id: str
    dataset_version: int
    upload: UploadState | None


@router.post("/split", response_model=Envelope[PreparationView])
async def split(new: SplitStart, request: HttpRequest, api: Api) -> Response:
    """Split into train, val and test."""
    source = await _checked(api, request, new)
    options = SplitOptions(**_own(new, SplitOptions))
    return await _begun(api, new, await api.datasets.split(source, options, priority=new.priority))


@router.post("/augment", response_model=Envelope[PreparationView])
async def augment(new: AugmentStart, request: HttpRequest, api: Api) -> Response:
    """Augment by noise, pitch, tempo, room."""
    source = await _checked(api, request, new)
    options = AugmentOptions(**_own(new, AugmentOptions))
    return await _begun(api, new, await api.datasets.augment(source, options, priority=new.priority))


@router.post("/crop", response_model=Envelope[PreparationView])
async def crop(new: CropStart, request: HttpRequest, api: Api) -> Response:
    """Crop by time."""
    source = await _checked(api, request, new)
    options = CropOptions(**_own(new, CropOptions))
    return await _begun(api, new, await api.datasets.crop(source, options, priority=new.priority))


@router.get("/{job_id}", response_model=Envelope[PreparationView])
async def get(job_id: str, api: Api) -> Response:
    """Where a preparation is."""
    return enveloped(await preparation_view(api, await api.datasets.get_job(job_id)))


@router.get("/{job_id}/logs", response_class=EventStream)
async def follow_logs(
    job_id: str, api: Api, last_event: Annotated[str, Header(alias="Last-Event-ID")] = ""
) -> Response:
    """Events `log`, and at last the end."""
    await api.datasets.get_job(job_id)
    return EventStream((await logs.of_job(api, job_id)).stream(last_event_id(last_event)))


async def preparation_view(api: Services, work: DatasetJob) -> PreparationView:
    """A job on a data set as the model service shows it."""
    status, progress = await _progress(api, work)
    return {
        "id": work.job_id,
        "type": "preprocessing",
        "kind": work.kind,
        "status": status,
        "progress": progress,
        "message": work.message,
        "error_message": str(work.error.get("message", "")) if work.error else None,
        "dataset_id": work.dataset_id,
        "dataset_version": work.version,
        "upload": await upload_state(api, work.job_id),
    }


async def _progress(api: Services, work: DatasetJob) -> tuple[Status, float]:
    """The records know the end; how far it is, the job has told."""
    if work.status is DatasetStatus.READY:
        return "completed", 100.0
    if work.status is DatasetStatus.FAILED:
        cancelled = work.error is not None and work.error.get("code") == "cancelled"
        return ("cancelled" if cancelled else "failed"), 0.0
    try:
        job = await api.queue.job(work.job_id)
        told = [event.data for event in await api.queue.event_history(work.job_id) if event.kind == "progress"]
    except QueueUnavailable:
        return "queued", 0.0
    running = job is not None and job.status is JobStatus.PROCESSING
    share = float(told[-1].get("progress", 0.0)) if told else 0.0
    return ("running" if running else "queued"), round(100 * share, 1)


async def _checked(api: Services, request: HttpRequest, new: Preparation) -> DatasetSource:
    """What to work on, once nothing that was asked stands in the way; URLs are read before the answer."""
    new.checked_upload_url(api)
    await check_device(api, new.device, PREPROCESSOR)
    if bool(new.inputs) == bool(new.dataset_id):
        raise BadBody(
            "There is one thing to work on: `inputs` or `dataset_id`.",
            hint="Inputs are URLs, or ids from POST /api/v1/files.",
            details={"fields": ["inputs", "dataset_id"]},
        )
    if new.dataset_id:
        return DatasetSource(dataset_id=new.dataset_id)
    files = await while_connected(request, gather(api, new.inputs))
    return DatasetSource(file_ids=[file.id for file in files], name=new.name, language=new.language)


async def _begun(api: Services, new: Preparation, work: DatasetJob) -> Response:
    await send_when_done(api, work.job_id, new.checked_upload_url(api), new.priority)
    return enveloped(await preparation_view(api, work))


def _own(new: Preparation, options: type[Any]) -> dict[str, Any]:
    return new.model_dump(include=set(options.model_fields))
