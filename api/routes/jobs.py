"""Jobs and dead letters: what the queue holds, for whoever operates it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query, Response
from typing_extensions import TypedDict

from api.dependencies import Api, Limit, Offset, Services
from api.http.responses import Json
from api.http.sse import EventStream, last_event_id, replay
from core.errors import Conflict, ErrorData, NotFound
from core.jobs.file_jobs import FileJobKind, file_job_kind
from core.jobs.job import DeadLetter, Event, FailureEntry, Job, JobStatus
from core.records import iso

router = APIRouter(tags=["Jobs"])

Role = Literal["splitter", "synthesizer", "preprocessor", "trainer", "files"]
PAGE: Final = 500
ENDINGS: Final = {JobStatus.DONE: "completed", JobStatus.DEAD: "failed", JobStatus.CANCELLED: "cancelled"}


class JobSummary(TypedDict):
    """A job, without what it was given and what came of it."""

    id: str
    role: str
    status: str
    priority: int
    attempts: int
    rescues: int
    worker: str
    cancel_requested: bool
    error: ErrorData | None
    created_at: str | None
    started_at: str | None
    finished_at: str | None


class JobView(JobSummary):
    """A job."""

    payload: dict[str, Any]
    result: dict[str, Any] | None


class JobPage(TypedDict):
    items: list[JobSummary]
    total: int
    limit: int
    offset: int


class DeadLetterView(TypedDict):
    """A job that failed for good."""

    job_id: str
    role: str
    payload: dict[str, Any]
    attempts: int
    rescues: int
    error: ErrorData
    died_at: str | None
    history: list[FailureEntry]


class DeadLetterPage(TypedDict):
    items: list[DeadLetterView]
    total: int
    limit: int
    offset: int


@router.get("/jobs", response_model=JobPage)
async def list_jobs(
    api: Api,
    limit: Limit = 50,
    offset: Offset = 0,
    status: Annotated[JobStatus | None, Query()] = None,
    role: Annotated[Role | None, Query()] = None,
    kind: Annotated[
        str, Query(pattern="^[a-z]{0,20}$", description="What the ids of whole jobs begin with: infer, batch, speech …")
    ] = "",
) -> Response:
    """The jobs, newest first; those that have ended are forgotten after RESULT_EXPIRY_SECONDS."""
    if status is None and role is None:
        jobs, total = await api.queue.jobs(kind, offset, limit)
    else:
        found = [job async for job in _all_jobs(api, kind) if _fits(job, status, role)]
        jobs, total = found[offset : offset + limit], len(found)
    return Json({"items": [job_summary(one) for one in jobs], "total": total, "limit": limit, "offset": offset})


@router.get("/jobs/{job_id}", response_model=JobView)
async def get_job(job_id: str, api: Api) -> Response:
    """Where a job is; results are kept for RESULT_EXPIRY_SECONDS."""
    return Json(job_view(await _job(api, job_id)))


@router.delete("/jobs/{job_id}", response_model=JobView)
async def cancel_job(job_id: str, api: Api) -> Response:
    """Stop a job: at once when it waits, within a second when it runs; one that has ended stays as it is."""
    kind = file_job_kind((await _job(api, job_id)).payload)
    if kind is FileJobKind.ASSEMBLE:
        await api.inference.cancel(job_id)  # with its parts
    elif kind is FileJobKind.ARCHIVE_BATCH:
        await api.batches.cancel(job_id)
    else:
        await api.queue.cancel(job_id)
    return Json(job_view(await _job(api, job_id)))


@router.get("/jobs/{job_id}/progress", response_class=EventStream)
async def watch_job(job_id: str, api: Api, last_event: Annotated[str, Header(alias="Last-Event-ID")] = "") -> Response:
    """Events `progress`, what else the job tells, and at last `completed`, `failed` or `cancelled`."""
    job = await _job(api, job_id)
    after = last_event_id(last_event)
    if job.status.terminal:
        return EventStream(replay(await api.queue.event_history(job_id, after), _ending(job)))
    return EventStream(_watched(api, job_id, after))


@router.get("/dead-letters", response_model=DeadLetterPage)
async def list_dead_letters(api: Api, limit: Limit = 50, offset: Offset = 0) -> Response:
    """Jobs that failed for good, newest first."""
    letters = await api.queue.dead_letters(offset, limit)
    total = (await api.queue.depths()).get("dead", 0)
    return Json({"items": [_letter_view(one) for one in letters], "total": total, "limit": limit, "offset": offset})


@router.post("/dead-letters/{job_id}/replay", response_model=JobView)
async def replay_dead_letter(job_id: str, api: Api) -> Response:
    """Run a dead job again; of an inference, all of its parts that failed. A second replay is refused."""
    job = await _job(api, job_id)
    replayed = False
    for whole in {job_id, job.topic} - {""}:
        # A sentence that failed took its inference along, and the inference all that was not spoken yet.
        replayed = await api.inference.replay(whole) or replayed
    if not await api.queue.replay(job_id) and not replayed:
        raise Conflict(f"The job {job_id} is {job.status}, not dead.", hint="GET /api/v1/dead-letters lists them.")
    return Json(job_view(await _job(api, job_id)))


async def _all_jobs(api: Services, kind: str) -> AsyncGenerator[Job, None]:
    seen, total = 0, 1
    while seen < total:
        jobs, total = await api.queue.jobs(kind, seen, PAGE)
        for job in jobs:
            yield job
        seen += PAGE


def _fits(job: Job, status: JobStatus | None, role: str | None) -> bool:
    return (status is None or job.status is status) and (role is None or job.role == role)


async def _job(api: Services, job_id: str) -> Job:
    job = await api.queue.job(job_id)
    if job is None:
        raise NotFound(f"No job {job_id!r}.", hint="Jobs that have ended are forgotten after a while.")
    return job


async def _watched(api: Services, job_id: str, after: str) -> AsyncGenerator[bytes, None]:
    async def look_again() -> Event | None:
        job = await api.queue.job(job_id)
        if job is None:  # forgotten while it was watched
            return Event("0-0", "completed", {"job_id": job_id})
        return _ending(job) if job.status.terminal else None

    with api.metrics.watchers.track_inprogress():
        async with aclosing(api.watchers.watch(partial(api.events.watch, job_id), after, look_again)) as chunks:
            async for chunk in chunks:
                yield chunk


def _ending(job: Job) -> Event:
    """The terminal event of a job, for when nobody remembers the one that was published."""
    data: dict[str, Any] = {"job_id": job.id}
    if job.status is JobStatus.DEAD and job.error is not None:
        data["error"] = job.error
    return Event(f"{round(job.finished_at * 1000)}-0", ENDINGS[job.status], data)


def job_view(job: Job) -> JobView:
    return {**job_summary(job), "payload": job.payload, "result": job.result}


def job_summary(job: Job) -> JobSummary:
    return {
        "id": job.id,
        "role": job.role,
        "status": job.status,
        "priority": job.priority,
        "attempts": job.attempts,
        "rescues": job.rescues,
        "worker": job.worker,
        "cancel_requested": job.cancel_requested,
        "error": job.error,
        "created_at": iso(job.created_at or None),
        "started_at": iso(job.started_at or None),
        "finished_at": iso(job.finished_at or None),
    }


def _letter_view(letter: DeadLetter) -> DeadLetterView:
    return {
        "job_id": letter.job_id,
        "role": letter.role,
        "payload": letter.payload,
        "attempts": letter.attempts,
        "rescues": letter.rescues,
        "error": letter.error,
        "died_at": iso(letter.died_at or None),
        "history": letter.history,
    }
