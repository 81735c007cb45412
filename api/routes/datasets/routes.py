"""Data sets: made from uploads, looked at before a training, mended, split, augmented, cropped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field

from api.dependencies import Api, Limit, Offset, Services
from api.http.responses import Json
from api.http.sse import EventStream, last_event_id, replay
from api.routes.datasets.views import (
    DatasetPage,
    DatasetView,
    ReportView,
    SegmentPage,
    SegmentView,
    VersionPage,
    VersionView,
    WorkView,
    dataset_summary,
    dataset_view,
    segment_view,
    version_view,
    work_view,
)
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
from core.datasets.report import summarize_report
from core.datasets.service import report_job
from core.errors import Conflict, InvalidRequest, NotFound, QueueUnavailable, error_message
from core.jobs.job import Event
from core.records import DatasetStatus, DatasetVersionRecord

router = APIRouter(prefix="/datasets", tags=["Data sets"])

Version = Annotated[int | None, Query(ge=1, le=2**31 - 1, description="A version; the newest when none is named.")]
VersionNumber = Annotated[int, Path(ge=1, le=2**31 - 1, description="A version.")]
SegmentNumber = Annotated[int, Path(ge=1, le=2**31 - 1, description="A segment.")]


class Body(BaseModel):
    """What is not named is refused."""

    model_config = ConfigDict(extra="forbid")


class NewFiles(Body):
    """Uploads to take in: recordings, ZIPs of recordings."""

    file_ids: list[FileId] = Field([], max_length=1000, description="From POST /files.")
    files: list[NewRecording] = Field([], max_length=1000, description="The same, each with its transcript.")
    priority: int = Field(5, ge=1, le=10, description="10 goes first.")

    @property
    def sources(self) -> list[NewRecording]:
        return [*self.files, *(NewRecording(file_id=one) for one in self.file_ids)]


class NewDataset(NewFiles):
    """A data set of uploads."""

    name: str = Field(min_length=1, max_length=100, description="For people.")
    language: DatasetLanguage = Field("auto", description="What is spoken; the report names what differs.")


class DatasetChange(Body):
    """What changes; what is not given stays."""

    name: str | None = Field(None, min_length=1, max_length=100)
    language: DatasetLanguage | None = None


class OneSegmentChange(SegmentEdit):
    """What changes in one segment; what is not given stays."""

    base_version: int | None = Field(None, ge=1, description="409 when this is no longer the newest version.")


class SegmentChanges(Body):
    """Changes of many segments, in one new version."""

    segments: list[SegmentChange] = Field(min_length=1, max_length=1000)
    base_version: int | None = Field(None, ge=1, description="409 when this is no longer the newest version.")


class ReportRequest(ReportOptions):
    """What the report calls bad."""

    version: int | None = Field(None, ge=1, le=2**31 - 1, description="The newest when none is named.")


@router.post("", status_code=201, response_model=DatasetView)
async def create_dataset(new: NewDataset, api: Api) -> Response:
    """Make a data set of uploads; a job decodes and cuts them, and names what could not be taken."""
    made = await api.datasets.create(new.name, new.sources, language=new.language, priority=new.priority)
    return Json(dataset_view(made, await api.records.dataset_versions.get(made.id, 1)), 201)


@router.get("", response_model=DatasetPage)
async def list_datasets(
    api: Api, limit: Limit = 50, offset: Offset = 0, status: Annotated[DatasetStatus | None, Query()] = None
) -> Response:
    """The data sets, newest first."""
    page = await api.records.datasets.page(limit, offset, status)
    return Json(_page([dataset_summary(one) for one in page.items], page.total, limit, offset))


@router.get("/{dataset_id}", response_model=DatasetView)
async def get_dataset(dataset_id: str, api: Api, version: Version = None) -> Response:
    """A data set as it is, or as an older version was."""
    found = await api.datasets.get_version(dataset_id, version)
    return Json(dataset_view(await api.records.datasets.get(dataset_id), found))


@router.patch("/{dataset_id}", response_model=DatasetView)
async def change_dataset(dataset_id: str, change: DatasetChange, api: Api) -> Response:
    """Give it another name or language; no new version comes of it."""
    record = await api.records.datasets.update(dataset_id, **change.model_dump(exclude_none=True))
    return Json(dataset_view(record, await api.datasets.get_version(dataset_id)))


@router.delete("/{dataset_id}", status_code=204)
async def delete_dataset(dataset_id: str, api: Api) -> Response:
    """Delete it with all versions; 409 while a job makes one or an experiment takes from it."""
    await api.datasets.get_version(dataset_id, (await api.records.datasets.get(dataset_id)).latest)
    await api.datasets.delete(dataset_id)
    return Response(status_code=204)


@router.post("/{dataset_id}/files", status_code=202, response_model=WorkView)
async def add_files(dataset_id: str, new: NewFiles, api: Api) -> Response:
    """Take in more uploads: a new version."""
    begun = await api.datasets.add(dataset_id, new.sources, priority=new.priority)
    return Json(work_view(await api.datasets.get_job(begun.job_id)), 202)


@router.get("/{dataset_id}/versions", response_model=VersionPage)
async def list_versions(dataset_id: str, api: Api, limit: Limit = 50, offset: Offset = 0) -> Response:
    """Every version and what made it, newest first."""
    page = await api.records.dataset_versions.page(dataset_id, limit, offset)
    return Json(_page([version_view(one) for one in page.items], page.total, limit, offset))


@router.get("/{dataset_id}/versions/{version}", response_model=VersionView)
async def get_version(dataset_id: str, version: VersionNumber, api: Api) -> Response:
    """One version."""
    return Json(version_view(await api.datasets.get_version(dataset_id, version)))


@router.get("/{dataset_id}/segments", response_model=SegmentPage)
async def list_segments(
    dataset_id: str, api: Api, limit: Limit = 50, offset: Offset = 0, version: Version = None
) -> Response:
    """The segments of a version, in order."""
    found = await api.records.dataset_versions.get(dataset_id, version)
    page = await api.records.dataset_versions.page_segments(dataset_id, found.version, limit, offset)
    return Json(_page([segment_view(one, found) for one in page.items], page.total, limit, offset))


@router.patch("/{dataset_id}/segments", response_model=VersionView)
async def change_segments(dataset_id: str, changes: SegmentChanges, api: Api) -> Response:
    """Mend transcripts, leave segments out or take them back: one new version for all changes."""
    return Json(version_view(await api.datasets.edit_segments(dataset_id, changes.segments, base=changes.base_version)))


@router.get("/{dataset_id}/segments/{number}", response_model=SegmentView)
async def get_segment(dataset_id: str, number: SegmentNumber, api: Api, version: Version = None) -> Response:
    """One segment."""
    found = await api.records.dataset_versions.get(dataset_id, version)
    return Json(segment_view(await api.records.dataset_versions.get_segment(dataset_id, found.version, number), found))


@router.patch("/{dataset_id}/segments/{number}", response_model=SegmentView)
async def change_segment(dataset_id: str, number: SegmentNumber, change: OneSegmentChange, api: Api) -> Response:
    """Mend one segment: a new version, of which this answers the segment."""
    given = change.model_dump(exclude={"base_version"})
    made = await api.datasets.edit_segments(
        dataset_id, [SegmentChange(number=number, **given)], base=change.base_version
    )
    return Json(segment_view(await api.records.dataset_versions.get_segment(dataset_id, made.version, number), made))


@router.get("/{dataset_id}/segments/{number}/audio", response_class=FileResponse)
async def segment_audio(dataset_id: str, number: SegmentNumber, api: Api, version: Version = None) -> Response:
    """Its sound as a WAV; `Range` is honoured."""
    found = await api.records.dataset_versions.get(dataset_id, version)
    segment = await api.records.dataset_versions.get_segment(dataset_id, found.version, number)
    path = await asyncio.to_thread(api.storage.path, segment.storage_key)
    if not path.is_file():
        raise NotFound(f"The sound of segment {number} of {dataset_id} is gone.", hint="Make the data set again.")
    return FileResponse(path, media_type="audio/wav", filename=f"{dataset_id}-{number}.wav")


@router.post("/{dataset_id}/report", status_code=202, response_model=WorkView)
async def make_report(dataset_id: str, api: Api, asked: ReportRequest | None = None) -> Response:
    """Look at and listen to every segment, in a job; GET has the report when it is done."""
    asked = asked or ReportRequest()
    options = ReportOptions(**asked.model_dump(exclude={"version"}))
    return Json(work_view(report_job(await api.datasets.report(dataset_id, asked.version, options))), 202)


@router.get("/{dataset_id}/report", response_model=ReportView)
async def get_report(dataset_id: str, api: Api, version: Version = None) -> Response:
    """Each bad file and why, and what will be left out; 409 while there is none yet."""
    found = await api.datasets.get_version(dataset_id, version)
    if found.report is None:
        raise _no_report(found)
    return Json(summarize_report(found, await api.records.dataset_versions.contents(dataset_id, found.version)))


@router.post("/{dataset_id}/split", status_code=202, response_model=WorkView)
async def split_dataset(dataset_id: str, api: Api, options: SplitOptions | None = None) -> Response:
    """Deal the segments out to train, val and test: a new version."""
    source = DatasetSource(dataset_id=dataset_id)
    return Json(work_view(await api.datasets.split(source, options or SplitOptions())), 202)


@router.post("/{dataset_id}/augment", status_code=202, response_model=WorkView)
async def augment_dataset(dataset_id: str, api: Api, options: AugmentOptions | None = None) -> Response:
    """Add copies with noise, another pitch, another tempo, a room: a new version."""
    source = DatasetSource(dataset_id=dataset_id)
    return Json(work_view(await api.datasets.augment(source, options or AugmentOptions())), 202)


@router.post("/{dataset_id}/crop", status_code=202, response_model=WorkView)
async def crop_dataset(dataset_id: str, options: CropOptions, api: Api) -> Response:
    """Keep a part of every recording: a new version."""
    return Json(work_view(await api.datasets.crop(DatasetSource(dataset_id=dataset_id), options)), 202)


@router.get("/{dataset_id}/progress", response_class=EventStream)
async def watch_dataset(
    dataset_id: str,
    api: Api,
    job_id: Annotated[str, Query(max_length=200, description="One of its jobs; the newest when none is named.")] = "",
    last_event: Annotated[str, Header(alias="Last-Event-ID")] = "",
) -> Response:
    """Events `progress`, and at last `completed`, `failed` or `cancelled`, of a job on the data set."""
    record = await api.records.datasets.get(dataset_id)
    if not job_id:
        newest = await api.records.dataset_versions.get(dataset_id, record.latest)
        job_id = newest.report_job_id or newest.job_id or f"{dataset_id}.1"
    elif not job_id.startswith(f"{dataset_id}."):
        raise InvalidRequest(f"{job_id!r} is no job of the data set {dataset_id}.")
    after = last_event_id(last_event)
    ended = await _ending(api, job_id)
    if ended is not None:
        return EventStream(replay(await _history(api, job_id, after), ended))
    return EventStream(_watched(api, job_id, after))


async def _ending(api: Services, job_id: str) -> Event | None:
    """The last event of a job that has ended, by the records; None while it goes on."""
    work = await api.datasets.get_job(job_id)
    if work.status is DatasetStatus.PREPARING:
        return None
    kind = "completed" if work.status is DatasetStatus.READY else "failed"
    return Event("0-0", kind, dict(work_view(work)))


async def _history(api: Services, job_id: str, after: str) -> list[Event]:
    """What is remembered; the end is told even when nobody can be asked for the rest."""
    try:
        return await api.queue.event_history(job_id, after)
    except QueueUnavailable:
        return []


async def _watched(api: Services, job_id: str, after: str) -> AsyncGenerator[bytes, None]:
    async def look_again() -> Event | None:
        return await _ending(api, job_id)

    with api.metrics.watchers.track_inprogress():
        async with aclosing(api.watchers.watch(partial(api.events.watch, job_id), after, look_again)) as chunks:
            async for chunk in chunks:
                yield chunk


def _no_report(version: DatasetVersionRecord) -> Conflict:
    path = f"/api/v1/datasets/{version.dataset_id}/report"
    if version.report_status is DatasetStatus.PREPARING:
        return Conflict(f"The report on version {version.version} is being made.", hint="Ask again shortly.")
    if version.report_status is DatasetStatus.FAILED:
        reason = error_message(version.report_error)
        return Conflict(f"The report on version {version.version} failed: {reason}", hint=f"POST {path} tries again.")
    return Conflict(f"Version {version.version} has no report.", hint=f"POST {path} makes one.")


def _page(items: list[Any], total: int, limit: int, offset: int) -> dict[str, Any]:
    return {"items": items, "total": total, "limit": limit, "offset": offset}
