"""Logs of jobs, stages and tasks: read page by page, or followed line by line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Response

from api.dependencies import Api, ApiServices, Limit
from api.http.access import TRAINING
from api.http.responses import JsonResponse
from api.http.schemas import PageView
from api.http.sse import EventStream, LastEventId
from api.services.logs import LogFeed, LogLineView

router = APIRouter(tags=["Logs"], dependencies=[TRAINING])


@dataclass(frozen=True, slots=True)
class LogQuery:
    """How a log is read: one page, or as a stream when the client accepts one."""

    limit: Limit = 500
    offset: Annotated[
        int | None, Query(ge=0, le=2**31 - 1, description="Lines to skip. Default: the newest lines are returned.")
    ] = None
    accept: Annotated[str, Header(include_in_schema=False)] = ""
    last_event: LastEventId = ""

    async def response(self, api: ApiServices, log: LogFeed) -> Response:
        """Return the page or the stream that the request asks for."""
        if EventStream.media_type in self.accept:
            return await api.sse.respond(log, self.last_event)
        return JsonResponse(await log.reader.page(self.limit, self.offset))


Reading = Annotated[LogQuery, Depends()]


@router.get("/tasks/{task_id}/logs", response_model=PageView[LogLineView])
async def task_logs(task_id: str, api: Api, reading: Reading) -> Response:
    """Get what all jobs of a task logged, oldest first. `Accept: text/event-stream` follows the log."""
    return await reading.response(api, await api.logs.task(task_id))


@router.get("/tasks/{task_id}/logs/stream", response_class=EventStream)
async def follow_task_logs(task_id: str, api: Api, last_event: LastEventId = "") -> Response:
    """Stream the log of a task: events `log`, and finally the end of the task."""
    return await api.sse.respond(await api.logs.task(task_id), last_event)


@router.get("/experiments/{exp_id}/stages/{stage}/logs", response_model=PageView[LogLineView])
async def stage_logs(exp_id: str, stage: str, api: Api, reading: Reading) -> Response:
    """Get what the newest run of a stage logged, oldest first. `Accept: text/event-stream` follows the log."""
    return await reading.response(api, await api.logs.stage(exp_id, stage))


@router.get("/experiments/{exp_id}/stages/{stage}/logs/stream", response_class=EventStream)
async def follow_stage_logs(exp_id: str, stage: str, api: Api, last_event: LastEventId = "") -> Response:
    """Stream the log of a stage's newest run: events `log`, and finally the end of the run."""
    return await api.sse.respond(await api.logs.stage(exp_id, stage), last_event)


@router.get("/jobs/{job_id}/logs", response_model=PageView[LogLineView])
async def job_logs(job_id: str, api: Api, reading: Reading) -> Response:
    """Get what a job logged, oldest first. `Accept: text/event-stream` follows the log."""
    return await reading.response(api, await api.logs.job(job_id))


@router.get("/jobs/{job_id}/logs/stream", response_class=EventStream)
async def follow_job_logs(job_id: str, api: Api, last_event: LastEventId = "") -> Response:
    """Stream the log of a job: events `log`, and finally the end of the job."""
    return await api.sse.respond(await api.logs.job(job_id), last_event)
