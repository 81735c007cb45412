"""One shape for every error of our own API, and the shapes that foreign clients expect at their doors."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from api.http.responses import Json, LingeringJson
from core.errors import (
    ErrorData,
    FileTooLarge,
    InvalidRequest,
    JobCancelled,
    NotFound,
    NotReady,
    PermanentError,
    SovitsError,
    error_message,
    find_error_class,
)
from core.jobs.job import Job, JobStatus

logger = logging.getLogger(__name__)

CLIENT_GONE: Final = 499
"""Nobody reads this status; it marks the log line and the metric."""
COSYVOICE_PATHS: Final = ("/synthesize", "/voices", "/audio")
COSYVOICE_STATUSES: Final = {404: 400, 405: 400, 409: 500, 413: 400, 422: 400}
"""Its clients know 400, 401, 500, 503 and 504."""


class BadBody(InvalidRequest):
    """A body or a parameter that does not fit; the message names the field."""

    status = 422


class JobFailed(SovitsError):
    """A job that this request waited for failed for a reason that has no class here."""

    code = "job_failed"


class NotAllowed(PermanentError):
    """The path is there, but not with this method."""

    code = "not_allowed"
    status = 405


def install(app: FastAPI) -> None:
    """Let every error of the application leave in its door's shape."""
    app.add_exception_handler(SovitsError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(OperationalError, _no_records)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unforeseen)


def from_job(job: Job) -> SovitsError:
    """The error that a dead or cancelled job means for whoever waited for it; it carries the job's id."""
    if job.status is JobStatus.CANCELLED:
        return JobCancelled("The job was cancelled.", details={"job_id": job.id})
    failure = job.error or ErrorData(code="", message="The job failed.")
    code = failure.get("code", "")
    message, hint = error_message(failure, "The job failed."), failure.get("hint", "")
    details = {**failure.get("details", {}), "job_id": job.id}
    error_class = find_error_class(code)
    # What a worker reports as its own trouble is the server's, not the caller's.
    if error_class is not None and error_class.status != 500:
        return error_class(message, hint=hint, details=details)
    return JobFailed(message, hint=hint, details={**details, "cause": code})


def body(error: SovitsError) -> dict[str, Any]:
    """`{"error": {code, message, hint, job_id?, details?}}`."""
    shown: dict[str, Any] = {**error.as_dict()}
    details = dict(shown.pop("details", {}))
    if "job_id" in details:
        shown["job_id"] = details.pop("job_id")
    if details:
        shown["details"] = details
    return {"error": shown}


def openai_body(error: SovitsError, status: int) -> dict[str, Any]:
    """`{"error": {message, type, param, code}}`, as OpenAI's clients read it."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    if status == 401:
        kind = "authentication_error"
    message = f"{error.message} {error.hint}".strip()
    return {"error": {"message": message, "type": kind, "param": error.details.get("param"), "code": error.code}}


def respond(request: Request, error: SovitsError, status: int | None = None) -> Response:
    """The error in the shape of the door that the request came in by."""
    status = status or error.status
    path = request.url.path
    content = body(error)
    if path.startswith("/v1/"):
        status = 400 if status == 422 else status
        content = openai_body(error, status)
    elif path == "/" or path.startswith(COSYVOICE_PATHS):
        status = COSYVOICE_STATUSES.get(status, status) if path == "/synthesize" else status
        content = {"detail": f"{error.message} {error.hint}".strip(), **content}
    elif f"{path}/".startswith("/api/v2/"):
        content = {"code": status, "msg": f"{error.message} {error.hint}".strip(), "data": content}
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    if status == 503:
        headers = {"Retry-After": "5"}
    kind = LingeringJson if isinstance(error, FileTooLarge) else Json
    return kind(content, status, headers)


async def _known(request: Request, error: Exception) -> Response:
    assert isinstance(error, SovitsError)
    if error.status >= 500:
        logger.warning("%s %s failed: %s", request.method, request.url.path, error.message)
    return respond(request, error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = error.errors()
    if problems and problems[0]["type"] == "json_invalid":
        reason = problems[0].get("ctx", {}).get("error", "")
        return respond(request, InvalidRequest(f"The body is no JSON: {reason}."))
    return respond(request, explain(problems))


def explain(problems: Sequence[Mapping[str, Any]]) -> BadBody:
    """One sentence a problem, each naming its field."""
    sentences = [_sentence(problem) for problem in problems]
    fields = [name for problem in problems if (name := _field(problem))]
    return BadBody(
        " ".join(sentences) or "The request does not fit.",
        hint="GET /docs lists every field.",
        details={"fields": fields, "param": fields[0] if fields else None},
    )


def _sentence(problem: Mapping[str, Any]) -> str:
    name = _field(problem)
    if not name:
        return f"{problem['msg']}."
    if problem["type"] == "extra_forbidden":
        return f"There is no field {name!r}."
    if problem["type"] == "missing":
        return f"The field {name!r} is missing."
    given = problem.get("input")
    shown = f" is {given!r}" if isinstance(given, (str, int, float, bool)) and len(str(given)) <= 80 else ""
    return f"The field {name!r}{shown}: {problem['msg']}."


def _field(problem: Mapping[str, Any]) -> str:
    return ".".join(str(part) for part in problem["loc"] if part not in ("body", "query", "path", "header"))


async def _http(request: Request, error: Exception) -> Response:
    """What the router itself refuses: an unknown path or method."""
    assert isinstance(error, HTTPException)
    hint = "GET /docs lists every path."
    if error.status_code == 404:
        return respond(request, NotFound(f"There is nothing at {request.url.path}.", hint=hint))
    if error.status_code == 405:
        return respond(request, NotAllowed(f"{request.method} is not for {request.url.path}.", hint=hint))
    if error.status_code == 413:
        return respond(request, FileTooLarge(str(error.detail), hint="A file is sent to POST /api/v1/files."))
    return respond(request, InvalidRequest(str(error.detail)), error.status_code)


async def _no_records(request: Request, error: Exception) -> Response:
    logger.error("The records cannot be used: %s", error)
    return respond(request, NotReady("The records cannot be reached or written right now.", hint="Try again shortly."))


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_GONE)


async def _unforeseen(request: Request, error: Exception) -> Response:
    return respond(request, SovitsError("Something went wrong here; the log has the details."))
