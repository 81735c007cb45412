"""Jobs and dead letters of the queue, for operators."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from typing_extensions import TypedDict

from api.dependencies import Api, Limit, Offset
from api.http.access import ADMINS, JOBS
from api.http.localization import LocalizedFeed, localized_error
from api.http.responses import JsonResponse
from api.http.schemas import JsonObjectView, PageView, page_response
from api.http.sse import EventStream, LastEventId
from api.services.progress import job_feed
from core.jobs.job import DeadLetter, Job, JobStatus
from core.records import iso

router = APIRouter(
    tags=["Jobs"],
    dependencies=[JOBS],
)

Role = Literal["splitter", "synthesizer", "preprocessor", "trainer", "files"]


class JobSummary(TypedDict):
    """A job without its payload and its result."""

    id: str
    role: str
    status: str
    priority: int
    attempts: int
    rescues: int
    worker: str
    cancel_requested: bool
    request_id: str
    """Of the HTTP request that created it: its `X-Request-ID`."""
    error: JsonObjectView | None
    created_at: str | None
    started_at: str | None
    finished_at: str | None


class JobView(JobSummary):
    """A job."""

    payload: JsonObjectView
    result: JsonObjectView | None


class DeadLetterView(TypedDict):
    """A job that failed permanently."""

    job_id: str
    role: str
    payload: JsonObjectView
    attempts: int
    rescues: int
    error: JsonObjectView
    died_at: str | None
    history: list[JsonObjectView]


@router.get("/jobs", response_model=PageView[JobSummary])
async def list_jobs(
    api: Api,
    limit: Limit = 50,
    offset: Offset = 0,
    status: Annotated[JobStatus | None, Query()] = None,
    role: Annotated[Role | None, Query()] = None,
    kind: Annotated[str, Query(pattern="^[a-z]{0,20}$", description="Prefix of the ids: infer, batch, speech …")] = "",
) -> Response:
    """List jobs, newest first. Jobs that have ended expire after RESULT_EXPIRY_SECONDS."""
    page = await api.jobs.list_jobs(limit, offset, kind=kind, status=status, role=role)
    return page_response(page, job_summary, limit, offset)


@router.get("/jobs/{job_id}", response_model=JobView)
async def get_job(job_id: str, api: Api) -> Response:
    """Get a job with its payload and result, which expire after RESULT_EXPIRY_SECONDS."""
    return JsonResponse(job_view(await api.jobs.get(job_id)))


@router.delete("/jobs/{job_id}", response_model=JobView)
async def cancel_job(job_id: str, api: Api) -> Response:
    """Cancel a job: at once when it waits, within a second when it runs. A job that has ended is left unchanged."""
    return JsonResponse(job_view(await api.jobs.cancel(job_id)))


@router.get("/jobs/{job_id}/progress", response_class=EventStream)
async def watch_job(job_id: str, api: Api, last_event: LastEventId = "") -> Response:
    """Stream the events of a job: `progress`, others of its role, and finally `completed`, `failed` or `cancelled`."""
    await api.jobs.get(job_id)
    return await api.sse.respond(LocalizedFeed(job_feed(api.queue, api.events, job_id)), last_event)


@router.get("/dead-letters", response_model=PageView[DeadLetterView])
async def list_dead_letters(api: Api, limit: Limit = 50, offset: Offset = 0) -> Response:
    """List jobs that failed permanently, newest first."""
    return page_response(await api.jobs.list_dead_letters(limit, offset), _dead_letter_view, limit, offset)


@router.post("/dead-letters/{job_id}/replay", response_model=JobView, dependencies=[ADMINS])
async def replay_dead_letter(job_id: str, api: Api) -> Response:
    """Run a dead job again; of an inference, all parts that failed. 409 when it is not dead, or no longer."""
    return JsonResponse(job_view(await api.jobs.replay(job_id)))


def job_view(job: Job) -> JobView:
    """Return a job as the API shows it."""
    return {**job_summary(job), "payload": job.payload, "result": job.result}


def job_summary(job: Job) -> JobSummary:
    """Return a job as lists show it."""
    return {
        "id": job.id,
        "role": job.role,
        "status": job.status,
        "priority": job.priority,
        "attempts": job.attempts,
        "rescues": job.rescues,
        "worker": job.worker,
        "cancel_requested": job.cancel_requested,
        "request_id": job.request_id,
        "error": localized_error(job.error),
        "created_at": iso(job.created_at or None),
        "started_at": iso(job.started_at or None),
        "finished_at": iso(job.finished_at or None),
    }


def _dead_letter_view(letter: DeadLetter) -> DeadLetterView:
    return {
        "job_id": letter.job_id,
        "role": letter.role,
        "payload": letter.payload,
        "attempts": letter.attempts,
        "rescues": letter.rescues,
        "error": localized_error(letter.error) or {},
        "died_at": iso(letter.died_at or None),
        "history": [{**entry, "at": iso(entry["at"])} for entry in letter.history],
    }
