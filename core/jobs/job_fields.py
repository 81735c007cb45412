"""Jobs as Redis keeps them: the arguments and replies of scripts, and the fields of a job's hash."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from core.access import Quota
from core.errors import InvalidRequest, QuotaExceeded
from core.jobs.job import DeadLetter, Job, JobStatus, Lease, NewJob, RescuedJob, StreamPart
from core.jobs.roles import WAITING_LISTS
from core.logs import current_request

QUOTA_RETRY_SECONDS: Final = 10.0
"""After so long a caller with too many unfinished jobs may ask again."""


def enqueue_arguments(job: NewJob, job_id: str, payload: bytes, owner: str) -> tuple[object, ...]:
    """Return what the script `enqueue` needs of a new job; InvalidRequest for a priority outside 1–10."""
    if not 1 <= job.priority <= 10:
        raise InvalidRequest(f"The priority is {job.priority}; it goes from 1 (last) to 10 (first).")
    keep = "" if job.keep_result_seconds is None else math.ceil(job.keep_result_seconds)
    dependencies = orjson.dumps(list(job.depends_on)) if job.depends_on else ""
    return (
        *(job_id, job.role, waiting_list(job.role), payload, int(job.priority)),
        *(job.topic, job.idempotency_key, job.delay_seconds, keep),
        *(dependencies, int(job.on_dependency_failure == "start"), job.device),
        *(owner, job.request_id or current_request.get(), job.characters),
        *(job.stream or "", job.listener, job.affinity, job.part_of),
    )


def waiting_list(role: str) -> str:
    """Return the list in which jobs of a role wait."""
    return WAITING_LISTS.get(role) or f"{role}_tasks"


def identify(lease: Lease) -> tuple[str, int, str]:
    """Return what scripts need of a lease: job, token and worker."""
    return lease.job.id, lease.token, lease.worker_id


def pair_up(flat: Sequence[str]) -> dict[str, str]:
    """Return a flat list of names and values as a mapping."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def parse_job(job_id: str, flat: Sequence[str]) -> Job:
    """Return a job from its id and the flat list of its fields."""
    return job_from_fields(job_id, pair_up(flat))


def job_from_fields(job_id: str, fields: Mapping[str, str]) -> Job:
    """Return a job from its hash."""
    return Job(
        id=job_id,
        role=fields["role"],
        payload=orjson.loads(fields["payload"]),
        status=JobStatus(fields["state"]),
        priority=int(fields["priority"]),
        attempts=int(fields.get("attempts", 0)),
        rescues=int(fields.get("rescues", 0)),
        device=fields.get("device", ""),
        owner=fields.get("owner", ""),
        request_id=fields.get("request", ""),
        topic=fields.get("topic", ""),
        stream=StreamPart(fields["stream"]) if "stream" in fields else None,
        token=int(fields.get("token", 0)),
        worker=fields.get("worker", ""),
        cancel_requested="cancel" in fields,
        pending_dependencies=int(fields.get("awaits", 0)),
        created_at=float(fields["created_at"]),
        started_at=float(fields.get("started_at", 0)),
        finished_at=float(fields.get("finished_at", 0)),
        error=orjson.loads(fields["error"]) if "error" in fields else None,
        result=orjson.loads(fields["result"]) if "result" in fields else None,
    )


def parse_dead_letter(document: str) -> DeadLetter:
    """Return a dead letter from its document."""
    return DeadLetter(**orjson.loads(document))


def quota_error(reply: str, quota: Quota) -> QuotaExceeded:
    """Return the error for a reply `jobs N` or `characters N seconds` of the script."""
    kind, used, *seconds = reply.split()
    if kind == "jobs":
        return QuotaExceeded(
            f"{used} of your jobs have not ended; this API key may have {quota.jobs_waiting}.",
            retry_after=QUOTA_RETRY_SECONDS,
            hint="Wait until some have ended, or cancel some.",
        )
    return QuotaExceeded(
        f"{int(used):,} characters were synthesized for you today; this API key may have {quota.characters_per_day:,}.",
        retry_after=float(seconds[0]),
        hint="The count begins again at midnight UTC.",
    )


def parse_rescued(reply: Sequence[Sequence[str]]) -> list[RescuedJob]:
    """Return the rescued jobs in the reply of a script."""
    return [RescuedJob(job_id, role, JobStatus(state), topic) for job_id, role, state, topic in reply]
