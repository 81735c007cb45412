"""Preparation of data for the model service: data sets, split, augmented, cropped."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final, Literal, Protocol

from fastapi import APIRouter, Response
from pydantic import Field

from api.dependencies import Api, ApiServices
from api.dialects.model_service.envelope import Envelope, enveloped
from api.dialects.model_service.inputs import CPU, InputPath, Label, ResultUploadFields, TaskRequestFields, find_input
from api.dialects.model_service.logs import ModelServiceLogFeed
from api.dialects.model_service.tasks import (
    ModelServiceStatus,
    TaskResponse,
    our_id,
    percent,
    reserved_task_id,
    with_notes,
)
from api.http.access import TRAINING
from api.http.errors import InvalidBody
from api.http.sse import EventStream, LastEventId
from api.services.progress import event_order
from api.services.result_uploads import enqueue_result_upload, result_upload_state
from core.datasets import DatasetJob
from core.datasets.options import AugmentKind, AugmentOptions, CropOptions, DatasetLanguage, DatasetSource, SplitOptions
from core.errors import QueueUnavailable, error_message
from core.jobs.job import JobStatus
from core.records import DatasetLabels, DatasetStatus, DatasetVersionRecord, iso

router = APIRouter(prefix="/preprocessing", dependencies=[TRAINING])

MAX_NAME: Final = 100
ROUNDING: Final = 1e-9
"""Shares that are sums of decimal fractions may differ from 1 by this much."""
METHODS: Final[dict[str, tuple[AugmentKind, ...]]] = {
    "GaussNoise": ("noise",),
    "ISONoise": ("noise",),
    "ColorJitter": ("pitch", "tempo"),
    "CLAHE": ("loudness",),
    "AdvancedBlur": ("room",),
    "Sharpen": ("treble",),
}
"""Methods for pictures → what is done to sound."""
Method = Literal["GaussNoise", "ISONoise", "ColorJitter", "CLAHE", "AdvancedBlur", "Sharpen"]
Milliseconds = Annotated[float, Field(ge=0, le=7_200_000)]


class PreparationStart(TaskRequestFields, ResultUploadFields):
    """Fields of every preparation."""

    output_path: Label = Field(description="A label, which becomes the name of the data set.")
    language: DatasetLanguage = Field("auto", description="Language of the recordings.")


class SplitStart(PreparationStart):
    """Divide the segments into train, val and test; the rest is test."""

    input_path: InputPath
    train_ratio: float = Field(0.7, gt=0, le=1)
    val_ratio: float = Field(0.2, ge=0, lt=1)

    def options(self) -> SplitOptions:
        """Return the shares; InvalidBody when they are more than there is."""
        test = 1.0 - self.train_ratio - self.val_ratio
        if test < -ROUNDING:
            raise InvalidBody(
                f"train_ratio {self.train_ratio:g} and val_ratio {self.val_ratio:g} are more than 1 together.",
                hint="What they leave is the test part.",
                details={"fields": ["train_ratio", "val_ratio"]},
            )
        return SplitOptions(val=self.val_ratio, test=max(0.0, round(test, 6)))


class AugmentStart(PreparationStart):
    """Add changed copies."""

    dataset_path: InputPath
    methods: list[Method] = Field(min_length=1, max_length=20)

    def options(self) -> AugmentOptions:
        """Return the kinds of augmentation that the methods mean, each once."""
        kinds = [kind for method in self.methods for kind in METHODS[method]]
        return AugmentOptions(kinds=list(dict.fromkeys(kinds)))


class CropStart(PreparationStart):
    """Keep a time range of every recording, in milliseconds."""

    input_path: InputPath
    x: Milliseconds = Field(description="Start of what is kept.")
    y: float = Field(0, description="Ignored.")
    width: float = Field(gt=0, le=7_200_000, description="Length of what is kept.")
    height: float = Field(0, description="Ignored.")

    def options(self) -> CropOptions:
        """Return the range in seconds."""
        start = self.x / 1000
        return CropOptions(start_seconds=start, end_seconds=min(7200.0, start + self.width / 1000))


class PreparationView(TaskResponse):
    """A preparation, and the version of the data set that it makes."""

    kind: str
    error_message: str | None
    dataset_id: str
    dataset_version: int


@router.post("/split", response_model=Envelope[PreparationView])
async def split(new: SplitStart, api: Api) -> Response:
    """Divide the segments into train, val and test. What a URL names is downloaded in the task."""
    return await _start(api, new, "input_path", new.input_path, partial(api.datasets.split, options=new.options()))


@router.post("/augment", response_model=Envelope[PreparationView])
async def augment(new: AugmentStart, api: Api) -> Response:
    """Add copies with noise, another pitch or tempo, evened out loudness, a room or more highs."""
    begin = partial(api.datasets.augment, options=new.options())
    return await _start(api, new, "dataset_path", new.dataset_path, begin)


@router.post("/crop", response_model=Envelope[PreparationView])
async def crop(new: CropStart, api: Api) -> Response:
    """Keep a time range of every recording: `x` and `width` in milliseconds."""
    return await _start(api, new, "input_path", new.input_path, partial(api.datasets.crop, options=new.options()))


@router.get("/{job_id}", response_model=Envelope[PreparationView])
async def get(job_id: str, api: Api) -> Response:
    """Get the status of a preparation, with its progress in percent."""
    return enveloped(await preparation_view(api, await find_preparation(api, job_id)))


@router.get("/{job_id}/logs", response_class=EventStream)
async def follow_logs(job_id: str, api: Api, last_event: LastEventId = "") -> Response:
    """Stream the log of a preparation: timestamp, level and message."""
    job = await find_preparation(api, job_id)
    return await api.sse.respond(ModelServiceLogFeed(await api.logs.job(job.job_id)), last_event)


async def find_preparation(api: ApiServices, job_id: str) -> DatasetJob:
    """Return a preparation by the id that its client chose or by ours."""
    return await api.datasets.get_job(await our_id(api, job_id))


async def preparation_view(api: ApiServices, dataset_job: DatasetJob) -> PreparationView:
    """Return a job on a data set as the model service shows it."""
    version = await api.records.dataset_versions.get(dataset_job.dataset_id, dataset_job.version)
    labels = version.request.get("labels", DatasetLabels())
    status, progress, changed_at = await _progress(api, dataset_job, version)
    upload = await result_upload_state(api.queue, dataset_job.job_id)
    failed_upload = (
        f"The results were not sent: {upload['error_message']}" if upload and upload["error_message"] else ""
    )
    view: PreparationView = {
        "task_id": labels.get("task_id", dataset_job.job_id),
        "task_type": "preprocessing",
        "status": status,
        "message": with_notes(dataset_job.message, failed_upload),
        "progress": progress,
        "device": CPU,
        "priority": version.priority,
        "description": labels.get("description"),
        "created_at": iso(version.created_at),
        "updated_at": iso(changed_at),
        "kind": dataset_job.kind,
        "error_message": error_message(dataset_job.error) if dataset_job.error else None,
        "dataset_id": dataset_job.dataset_id,
        "dataset_version": dataset_job.version,
    }
    if warnings := labels.get("warnings"):
        view["warnings"] = warnings
    return view


class BeginPreparation(Protocol):
    """An operation of the data sets with its options."""

    async def __call__(self, source: DatasetSource, *, priority: int, labels: DatasetLabels) -> DatasetJob: ...


async def _start(api: ApiServices, new: PreparationStart, field: str, path: str, begin: BeginPreparation) -> Response:
    """Begin a preparation of what a path names, and return its task."""
    destination = new.checked_upload(api)
    named = await find_input(api, field, path)
    if named.dataset_id:
        source = DatasetSource(dataset_id=named.dataset_id)
    else:
        source = DatasetSource(
            file_ids=[file.id for file in named.files],
            urls=named.urls,
            name=new.output_path.strip()[-MAX_NAME:],
            language=new.language,
        )
    priority = new.priority or api.settings.default_train_priority
    labels: DatasetLabels = {"description": new.description, "warnings": new.unknown_fields()}
    async with reserved_task_id(api, new.task_id) as reservation:
        if new.task_id is not None:
            labels["task_id"] = new.task_id
        job = await begin(source, priority=priority, labels=labels)
        reservation.task_id = job.job_id
    await enqueue_result_upload(api.queue, job.job_id, destination.url, priority, token=destination.token)
    return enveloped(await preparation_view(api, job))


async def _progress(
    api: ApiServices, dataset_job: DatasetJob, version: DatasetVersionRecord
) -> tuple[ModelServiceStatus, int, float]:
    """Return status, progress in percent and the time of the last change: by the records, else by the queue."""
    ended_at = version.completed_at or version.created_at
    if dataset_job.status is DatasetStatus.READY:
        return "completed", 100, ended_at
    if dataset_job.status is DatasetStatus.FAILED:
        cancelled = dataset_job.error is not None and dataset_job.error.get("code") == "cancelled"
        return ("cancelled" if cancelled else "failed"), 0, ended_at
    try:
        job = await api.queue.job(dataset_job.job_id)
        history = await api.queue.event_history(dataset_job.job_id)
    except QueueUnavailable:
        return "pending", 0, version.created_at
    running = job is not None and job.status is JobStatus.PROCESSING
    shares = [float(event.data.get("progress", 0.0)) for event in history if event.kind == "progress"]
    changed_at = event_order(history[-1].id)[0] / 1000 if history else version.created_at
    share = shares[-1] if shares else 0.0
    return ("running" if running else "pending"), percent(share, completed=False), changed_at
