"""Jobs and dead letters: what the queue holds, for whoever operates it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from typing_extensions import TypedDict

from api.dependencies import Api, Limit, Offset
from api.responses import Json
from core.errors import Conflict, NotFound
from core.job import DeadLetter, Job
from core.records import iso

router = APIRouter(tags=["Jobs"])


class JobView(TypedDict):
    """A job."""

    id: str
    role: str
    status: str
    priority: int
    attempts: int
    rescues: int
    worker: str
    cancel_requested: bool
    payload: dict[str, Any]
    error: dict[str, Any] | None
    result: dict[str, Any] | None
    created_at: str | None
    started_at: str | None
    finished_at: str | None


class DeadLetterView(TypedDict):
    """A job that failed for good."""

    job_id: str
    role: str
    payload: dict[str, Any]
    attempts: int
    rescues: int
    error: dict[str, Any]
    died_at: str | None
    history: list[dict[str, Any]]


@router.get("/jobs/{job_id}", response_model=JobView)
async def get_job(job_id: str, api: Api) -> Response:
    """Where a job is; results are kept for RESULT_EXPIRY_SECONDS."""
    return Json(job_view(await _job(api, job_id)))


@router.delete("/jobs/{job_id}", response_model=JobView)
async def cancel_job(job_id: str, api: Api) -> Response:
    """Stop a job: at once when it waits, within a second when it runs; one that has ended stays as it is."""
    if await api.queue.cancel(job_id) is None:
        raise NotFound(f"No job {job_id!r}.", hint="Jobs that have ended are forgotten after a while.")
    return Json(job_view(await _job(api, job_id)))


@router.get("/dead-letters")
async def list_dead_letters(api: Api, limit: Limit = 50, offset: Offset = 0) -> Response:
    """Jobs that failed for good, newest first."""
    letters = await api.queue.dead_letters(offset, limit)
    total = (await api.queue.depths()).get("dead", 0)
    return Json({"items": [_letter_view(one) for one in letters], "total": total, "limit": limit, "offset": offset})


@router.post("/dead-letters/{job_id}/replay", response_model=JobView)
async def replay_dead_letter(job_id: str, api: Api) -> Response:
    """Run a dead job again; a second replay of the same letter is refused."""
    if not await api.queue.replay(job_id):
        job = await _job(api, job_id)
        raise Conflict(f"The job {job_id} is {job.status}, not dead.", hint="GET /api/v1/dead-letters lists them.")
    return Json(job_view(await _job(api, job_id)))


async def _job(api: Api, job_id: str) -> Job:
    job = await api.queue.job(job_id)
    if job is None:
        raise NotFound(f"No job {job_id!r}.", hint="Jobs that have ended are forgotten after a while.")
    return job


def job_view(job: Job) -> JobView:
    return {
        "id": job.id,
        "role": job.role,
        "status": job.status,
        "priority": job.priority,
        "attempts": job.attempts,
        "rescues": job.rescues,
        "worker": job.worker,
        "cancel_requested": job.cancel_requested,
        "payload": job.payload,
        "error": job.error,
        "result": job.result,
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
