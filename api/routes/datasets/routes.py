"""Data sets: made of uploads, examined, corrected, split, augmented, cropped."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import FileResponse
from pydantic import Field

from api.dependencies import Api, Cursor, Limit, Offset
from api.http.access import TRAINING
from api.http.localization import LocalizedFeed
from api.http.responses import JsonResponse, stored_file_response
from api.http.schemas import PageView, StrictModel, page_response
from api.http.sse import EventStream, LastEventId
from api.routes.datasets.views import (
    DatasetJobView,
    DatasetReportView,
    DatasetSegmentView,
    DatasetSummary,
    DatasetVersionView,
    DatasetView,
    dataset_summary,
    dataset_view,
    job_view,
    report_view,
    segment_view,
    version_view,
)
from api.routes.jobs import JobView
from api.routes.jobs import job_view as queue_job_view
from api.services.progress import TopicFeed, event_id
from core.datasets.options import (
    AugmentOptions,
    CropOptions,
    DatasetLanguage,
    DatasetSource,
    FileId,
    NewRecording,
    ReportOptions,
    SegmentChange,
    SegmentEdit,
    SplitOptions,
)
from core.datasets.service import report_job
from core.errors import Conflict, InvalidRequest, NotFound, error_message
from core.jobs.job import Event
from core.names import Name
from core.records import DatasetStatus, DatasetVersionRecord

router = APIRouter(
    prefix="/datasets",
    tags=["Data sets"],
    dependencies=[TRAINING],
)

VersionQuery = Annotated[
    int | None, Query(ge=1, le=2**31 - 1, description="A version. Default: the newest complete one.")
]
VersionNumber = Annotated[int, Path(ge=1, le=2**31 - 1, description="A version.")]
SegmentNumber = Annotated[int, Path(ge=1, le=2**31 - 1, description="A segment.")]


class DatasetFiles(StrictModel):
    """Uploads to add: recordings, or ZIPs of recordings."""

    file_ids: list[FileId] = Field([], max_length=1000, description="Ids from POST /files.")
    files: list[NewRecording] = Field([], max_length=1000, description="Such ids, each with its transcript.")
    priority: int = Field(5, ge=1, le=10, description="10 runs first.")

    @property
    def sources(self) -> list[NewRecording]:
        """All uploads that the request names."""
        return [*self.files, *(NewRecording(file_id=file_id) for file_id in self.file_ids)]


class NewDataset(DatasetFiles):
    """A data set of uploads."""

    name: Name = Field(min_length=1, max_length=100, description="A name to display.")
    language: DatasetLanguage = Field("auto", description="Spoken language. The report flags segments in another one.")


class DatasetChange(StrictModel):
    """Fields to change; fields that are left out stay as they are."""

    name: Name | None = Field(None, min_length=1, max_length=100)
    language: DatasetLanguage | None = None


class SingleSegmentChange(SegmentEdit):
    """Changes of one segment; fields that are left out stay as they are."""

    base_version: int | None = Field(None, ge=1, description="409 when this is no longer the newest version.")


class SegmentChanges(StrictModel):
    """Changes of many segments, in one new version."""

    segments: list[SegmentChange] = Field(min_length=1, max_length=1000)
    base_version: int | None = Field(None, ge=1, description="409 when this is no longer the newest version.")


class ReportRequest(ReportOptions):
    """The version to examine, and the thresholds of the report."""

    version: int | None = Field(None, ge=1, le=2**31 - 1, description="Default: the newest version.")


@router.post("", status_code=201, response_model=DatasetView)
async def create_dataset(new: NewDataset, api: Api) -> Response:
    """Create a data set of uploads. A job decodes and slices them; `skipped` names the files that could not be used."""
    dataset = await api.datasets.create(new.name, new.sources, language=new.language, priority=new.priority)
    return JsonResponse(dataset_view(dataset, await api.records.dataset_versions.get(dataset.id, 1)), 201)


@router.get("", response_model=PageView[DatasetSummary])
async def list_datasets(
    api: Api,
    limit: Limit = 50,
    offset: Offset = 0,
    status: Annotated[DatasetStatus | None, Query()] = None,
    cursor: Cursor = "",
) -> Response:
    """List data sets, newest first."""
    page = await api.records.datasets.page(limit, offset, status, cursor=cursor)
    return page_response(page, dataset_summary, limit, offset, cursors=True)


@router.get("/{dataset_id}", response_model=DatasetView)
async def get_dataset(dataset_id: str, api: Api, version: VersionQuery = None) -> Response:
    """Get a data set with its newest version or an older one."""
    record = await api.datasets.get_version(dataset_id, version)
    return JsonResponse(dataset_view(await api.records.datasets.get(dataset_id), record))


@router.patch("/{dataset_id}", response_model=DatasetView)
async def change_dataset(dataset_id: str, change: DatasetChange, api: Api) -> Response:
    """Change the name or the language of a data set, without a new version."""
    record = await api.records.datasets.update(dataset_id, **change.model_dump(exclude_none=True))
    return JsonResponse(dataset_view(record, await api.datasets.get_version(dataset_id)))


@router.delete("/{dataset_id}", status_code=204)
async def delete_dataset(dataset_id: str, api: Api) -> Response:
    """Delete a data set with all versions. 409 while a job creates a version or an experiment reads one."""
    await api.datasets.get_version(dataset_id, (await api.records.datasets.get(dataset_id)).latest)
    await api.datasets.delete(dataset_id)
    return Response(status_code=204)


@router.post("/{dataset_id}/files", status_code=202, response_model=DatasetJobView)
async def add_files(dataset_id: str, new: DatasetFiles, api: Api) -> Response:
    """Add uploads, in a new version."""
    version = await api.datasets.add(dataset_id, new.sources, priority=new.priority)
    return JsonResponse(job_view(await api.datasets.get_job(version.job_id)), 202)


@router.get("/{dataset_id}/versions", response_model=PageView[DatasetVersionView])
async def list_versions(dataset_id: str, api: Api, limit: Limit = 50, offset: Offset = 0) -> Response:
    """List the versions of a data set and the operations that created them, newest first."""
    page = await api.records.dataset_versions.page(dataset_id, limit, offset)
    return page_response(page, version_view, limit, offset)


@router.get("/{dataset_id}/versions/{version}", response_model=DatasetVersionView)
async def get_version(dataset_id: str, version: VersionNumber, api: Api) -> Response:
    """Get one version of a data set."""
    return JsonResponse(version_view(await api.datasets.get_version(dataset_id, version)))


@router.get("/{dataset_id}/segments", response_model=PageView[DatasetSegmentView])
async def list_segments(
    dataset_id: str, api: Api, limit: Limit = 50, offset: Offset = 0, version: VersionQuery = None
) -> Response:
    """List the segments of a version, in the order of the recordings."""
    record = await api.records.dataset_versions.get(dataset_id, version)
    page = await api.records.dataset_versions.page_segments(dataset_id, record.version, limit, offset)
    return page_response(page, lambda segment: segment_view(segment, record), limit, offset)


@router.patch("/{dataset_id}/segments", response_model=DatasetVersionView)
async def change_segments(dataset_id: str, changes: SegmentChanges, api: Api) -> Response:
    """Correct transcripts, leave segments out or restore them, all in one new version."""
    version = await api.datasets.edit_segments(dataset_id, changes.segments, base=changes.base_version)
    return JsonResponse(version_view(version))


@router.get("/{dataset_id}/segments/{number}", response_model=DatasetSegmentView)
async def get_segment(dataset_id: str, number: SegmentNumber, api: Api, version: VersionQuery = None) -> Response:
    """Get one segment."""
    record = await api.records.dataset_versions.get(dataset_id, version)
    segment = await api.records.dataset_versions.get_segment(dataset_id, record.version, number)
    return JsonResponse(segment_view(segment, record))


@router.patch("/{dataset_id}/segments/{number}", response_model=DatasetSegmentView)
async def change_segment(dataset_id: str, number: SegmentNumber, change: SingleSegmentChange, api: Api) -> Response:
    """Change one segment in a new version, and return the segment of that version."""
    edit = SegmentChange(number=number, **change.model_dump(exclude={"base_version"}))
    version = await api.datasets.edit_segments(dataset_id, [edit], base=change.base_version)
    segment = await api.records.dataset_versions.get_segment(dataset_id, version.version, number)
    return JsonResponse(segment_view(segment, version))


@router.get("/{dataset_id}/segments/{number}/audio", response_class=FileResponse)
async def segment_audio(dataset_id: str, number: SegmentNumber, api: Api, version: VersionQuery = None) -> Response:
    """Download the audio of a segment as a WAV. Supports `Range`."""
    record = await api.records.dataset_versions.get(dataset_id, version)
    segment = await api.records.dataset_versions.get_segment(dataset_id, record.version, number)
    return await stored_file_response(
        api.storage,
        segment.storage_key,
        "audio/wav",
        filename=f"{dataset_id}-{number}.wav",
        missing=NotFound(f"The sound of segment {number} of {dataset_id} is gone.", hint="Make the data set again."),
    )


@router.post("/{dataset_id}/report", status_code=202, response_model=DatasetJobView)
async def make_report(dataset_id: str, api: Api, request: ReportRequest | None = None) -> Response:
    """Examine every segment of a version in a job: audio quality, and transcripts against a recognizer.

    GET /datasets/{dataset_id}/report returns the report when the job is done.
    """
    request = request or ReportRequest()
    options = ReportOptions(**request.model_dump(exclude={"version"}))
    version = await api.datasets.report(dataset_id, request.version, options)
    return JsonResponse(job_view(report_job(version)), 202)


@router.get("/{dataset_id}/report", response_model=DatasetReportView)
async def get_report(dataset_id: str, api: Api, version: VersionQuery = None) -> Response:
    """Get the report of a version: the problems of each file, and the segments that a training leaves out.

    409 while there is no report; the message says whether it is being made.
    """
    record = await api.datasets.get_version(dataset_id, version)
    if record.report is None:
        raise _no_report(record)
    contents = await api.records.dataset_versions.contents(dataset_id, record.version)
    return JsonResponse(report_view(record, contents))


@router.post("/{dataset_id}/coverage", status_code=202, response_model=JobView)
async def find_missing_phonemes(dataset_id: str, api: Api, version: VersionQuery = None) -> Response:
    """Find the phonemes of the language that the transcripts lack, and sentences to record next, in a job.

    Its `result` (GET /jobs/{job_id}) has `phonemes` (how many the language has), `missing`, and `sentences` with the
    missing phonemes of each. 400 when the language is not known.
    """
    return JsonResponse(queue_job_view(await api.datasets.coverage(dataset_id, version)), 202)


@router.post("/{dataset_id}/split", status_code=202, response_model=DatasetJobView)
async def split_dataset(dataset_id: str, api: Api, options: SplitOptions | None = None) -> Response:
    """Divide the segments into train, val and test, in a new version."""
    source = DatasetSource(dataset_id=dataset_id)
    return JsonResponse(job_view(await api.datasets.split(source, options or SplitOptions())), 202)


@router.post("/{dataset_id}/augment", status_code=202, response_model=DatasetJobView)
async def augment_dataset(dataset_id: str, api: Api, options: AugmentOptions | None = None) -> Response:
    """Add copies with noise, another pitch, another tempo or reverberation, in a new version."""
    source = DatasetSource(dataset_id=dataset_id)
    return JsonResponse(job_view(await api.datasets.augment(source, options or AugmentOptions())), 202)


@router.post("/{dataset_id}/crop", status_code=202, response_model=DatasetJobView)
async def crop_dataset(dataset_id: str, options: CropOptions, api: Api) -> Response:
    """Keep a time range of every recording, in a new version."""
    return JsonResponse(job_view(await api.datasets.crop(DatasetSource(dataset_id=dataset_id), options)), 202)


@router.get("/{dataset_id}/progress", response_class=EventStream)
async def watch_dataset(
    dataset_id: str,
    api: Api,
    job_id: Annotated[str, Query(max_length=200, description="A job of the data set. Default: the newest.")] = "",
    last_event: LastEventId = "",
) -> Response:
    """Stream the events of a job on a data set: `progress`, and finally `completed` or `failed`."""
    record = await api.records.datasets.get(dataset_id)
    if not job_id:
        newest = await api.records.dataset_versions.get(dataset_id, record.latest)
        job_id = newest.report_job_id or newest.job_id or f"{dataset_id}.1"
    elif not job_id.startswith(f"{dataset_id}."):
        raise InvalidRequest(f"{job_id!r} is no job of the data set {dataset_id}.")

    async def terminal_event() -> Event | None:
        job = await api.datasets.get_job(job_id)
        if job.status is DatasetStatus.PREPARING:
            return None
        kind = "completed" if job.status is DatasetStatus.READY else "failed"
        return Event(event_id(None), kind, dict(job_view(job)))

    return await api.sse.respond(LocalizedFeed(TopicFeed(api.queue, api.events, job_id, terminal_event)), last_event)


def _no_report(version: DatasetVersionRecord) -> Conflict:
    path = f"/api/v1/datasets/{version.dataset_id}/report"
    if version.report_status is DatasetStatus.PREPARING:
        return Conflict(f"The report on version {version.version} is being made.", hint="Ask again shortly.")
    if version.report_status is DatasetStatus.FAILED:
        reason = error_message(version.report_error)
        return Conflict(f"The report on version {version.version} failed: {reason}", hint=f"POST {path} tries again.")
    return Conflict(f"Version {version.version} has no report.", hint=f"POST {path} makes one.")
