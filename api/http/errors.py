"""Error responses. Every error of the application becomes a SovitsError, which the API of the path formats.

    SovitsError                     core/errors.py: code, message, hint, details, HTTP status
    ├── InvalidBody                 422, a body or parameter that does not fit
    └── MethodNotAllowed            405

`ErrorFormat` is one API's error format: `NativeErrors` for /api/v1, others for the foreign APIs (api/dialects).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.websockets import WebSocket
from typing_extensions import TypedDict

from api.http.localization import in_chinese
from api.http.responses import JsonResponse, LingeringJsonResponse
from api.http.route_table import allowed_methods
from api.http.translations import translate
from api.http.wrong_keys import TooManyWrongKeys
from core.errors import (
    DiskError,
    FileTooLarge,
    InvalidRequest,
    NotFound,
    NotReady,
    PermanentError,
    QuotaExceeded,
    SovitsError,
    StorageFull,
)
from core.storage.disk_errors import disk_error

logger = logging.getLogger(__name__)

CLIENT_CLOSED_REQUEST: Final = 499
"""Nobody receives this status; it shows in the log and in the metrics."""
RETRY_AFTER_SECONDS: Final = 5


class FieldProblem(TypedDict):
    """What is wrong with one field of a request, as clients of FastAPI's applications read it."""

    loc: list[str | int]
    msg: str
    type: str


class InvalidBody(InvalidRequest):
    """A body or a parameter that does not fit; the message names the field."""

    status = 422

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        details: Mapping[str, object] | None = None,
        problems: Sequence[FieldProblem] = (),
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.problems = list(problems)


class RejectedSocket(Exception):
    """A WebSocket that is not opened; the client gets the reason as the response to its request."""

    def __init__(self, reason: SovitsError) -> None:
        super().__init__(reason.message)
        self.reason = reason


class MethodNotAllowed(PermanentError):
    """A path that exists, but not with this method."""

    code = "not_allowed"
    status = 405


class ErrorFormat(Protocol):
    """How one API writes its errors."""

    schema_name: str
    """The component of the OpenAPI document that describes the body."""
    schema: Mapping[str, object]

    def applies_to(self, path: str) -> bool:
        """Return whether the path belongs to this API."""
        ...

    def status(self, error: SovitsError, status: int, path: str) -> int:
        """Return the HTTP status that clients of this API expect in place of `status`."""
        ...

    def body(self, error: SovitsError, status: int) -> Mapping[str, object]:
        """Return the JSON body."""
        ...


class NativeErrors:
    """The format of /api/v1: `{"error": {code, message, hint, job_id?, details?}, "detail"}`.

    `detail` says the same as FastAPI's applications do: one text, or a list of `{loc, msg, type}` for a bad body.
    """

    schema_name = "Error"
    schema: Mapping[str, object] = {
        "title": "Error",
        "description": "The cause of an error, and what would work instead.",
        "type": "object",
        "required": ["error", "detail"],
        "properties": {
            "detail": {
                "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}],
                "description": "The same as one text; of a body that does not fit, a list of {loc, msg, type}.",
            },
            "error": {
                "type": "object",
                "required": ["code", "message", "hint"],
                "properties": {
                    "code": {"type": "string", "description": "A stable code for programs."},
                    "message": {"type": "string"},
                    "hint": {"type": "string", "description": "What would work instead."},
                    "job_id": {"type": "string"},
                    "details": {"type": "object"},
                },
            },
        },
    }

    def applies_to(self, path: str) -> bool:
        """Return True: this is the format of every path without one of its own."""
        return True

    def status(self, error: SovitsError, status: int, path: str) -> int:
        """Return the status as it is."""
        return status

    def body(self, error: SovitsError, status: int) -> Mapping[str, object]:
        """Return the error, with the job's id beside the code instead of among the details."""
        details = dict(error.details)
        fields: dict[str, object] = {"code": error.code, "message": error.message, "hint": error.hint}
        if "job_id" in details:
            fields["job_id"] = details.pop("job_id")
        if details:
            fields["details"] = details
        problems = error.problems if isinstance(error, InvalidBody) else []
        return {"error": fields, "detail": problems or error.detail}


def install(app: FastAPI, formats: Sequence[ErrorFormat]) -> None:
    """Let every error of the application be answered in the first of the formats that applies to its path."""
    app.state.error_formats = formats
    app.add_exception_handler(SovitsError, _on_sovits_error)
    app.add_exception_handler(RejectedSocket, _on_rejected_socket)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(OperationalError, _on_database_error)
    app.add_exception_handler(OSError, _on_os_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_unexpected_error)


def error_response(request: HTTPConnection, error: SovitsError, status: int | None = None) -> Response:
    """Return an error in the error format of the API that the path belongs to; by default with its own status."""
    path = request.url.path
    formats: Sequence[ErrorFormat] = request.app.state.error_formats
    error_format = next(candidate for candidate in formats if candidate.applies_to(path))
    status = error_format.status(error, status or error.status, path)
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    elif status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if isinstance(error, QuotaExceeded | TooManyWrongKeys):
        headers["Retry-After"] = str(error.retry_after)
    if in_chinese():
        error.message, error.hint = translate(error.code, error.message, error.hint)
    lingers = isinstance(error, FileTooLarge | DiskError) or (isinstance(error, QuotaExceeded) and error.before_upload)
    response_class = LingeringJsonResponse if lingers else JsonResponse
    return response_class(error_format.body(error, status), status, headers)


def invalid_body(problems: Sequence[Mapping[str, Any]]) -> InvalidBody:
    """Return one error for all problems that pydantic reports: a sentence each, with the name of the field."""
    sentences, fields = [], []
    listed: list[FieldProblem] = [
        {"loc": list(problem["loc"]), "msg": str(problem["msg"]), "type": str(problem["type"])} for problem in problems
    ]
    for problem in problems:
        name = ".".join(str(part) for part in problem["loc"] if part not in ("body", "query", "path", "header"))
        if not name:
            sentences.append(f"{problem['msg']}.")
            continue
        fields.append(name)
        if problem["type"] == "extra_forbidden":
            sentences.append(f"There is no field {name!r}.")
        elif problem["type"] == "missing":
            sentences.append(f"The field {name!r} is missing.")
        else:
            value = problem.get("input")
            short = isinstance(value, (str, int, float, bool)) and len(str(value)) <= 80
            reason = problem["msg"]
            sentences.append(
                f"The field {name!r} is {value!r}: {reason}." if short else f"The field {name!r}: {reason}."
            )
    return InvalidBody(
        " ".join(sentences) or "The request does not fit.",
        hint="GET /docs lists every field.",
        details={"fields": fields, "param": fields[0] if fields else None},
        problems=listed,
    )


async def _on_sovits_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, SovitsError)
    if error.status >= 500:
        logger.warning("%s %s failed: %s", request.method, request.url.path, error.message)
    return error_response(request, error)


async def _on_rejected_socket(websocket: WebSocket, error: Exception) -> None:
    assert isinstance(error, RejectedSocket)
    await websocket.send_denial_response(error_response(websocket, error.reason))


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = error.errors()
    if problems and problems[0]["type"] == "json_invalid":
        reason = problems[0].get("ctx", {}).get("error", "")
        return error_response(request, InvalidRequest(f"The body is no JSON: {reason}."))
    return error_response(request, invalid_body(problems))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Answer what the router itself rejects: an unknown path or method."""
    assert isinstance(error, HTTPException)
    hint = "GET /docs lists every path."
    if error.status_code == 404:
        return error_response(request, NotFound(f"There is nothing at {request.url.path}.", hint=hint))
    if error.status_code == 405:
        methods = ", ".join(allowed_methods(request.app, request.url.path))
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": methods})
        rejection = MethodNotAllowed(
            f"{request.method} is not for {request.url.path}.", hint=f"It takes {methods}. {hint}"
        )
        response = error_response(request, rejection)
        response.headers["Allow"] = methods
        return response
    if error.status_code == 413:
        return error_response(request, FileTooLarge(str(error.detail), hint="A file is sent to POST /api/v1/files."))
    return error_response(request, InvalidRequest(str(error.detail)), error.status_code)


async def _on_database_error(request: Request, error: Exception) -> Response:
    logger.error("The records cannot be used: %s", error)
    if "disk is full" in str(error):
        return error_response(request, StorageFull("The disk that holds the records is full.", hint="Make room."))
    unavailable = NotReady("The records cannot be reached or written right now.", hint="Try again shortly.")
    return error_response(request, unavailable)


async def _on_os_error(request: Request, error: Exception) -> Response:
    """Answer a full or read-only disk; any other such error is unexpected."""
    assert isinstance(error, OSError)
    fault = disk_error(error, request.app.state.services.settings.data_path)
    if fault is None:
        raise error
    logger.error("%s %s failed: %s", request.method, request.url.path, fault.message)
    return error_response(request, fault)


async def _on_disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _on_unexpected_error(request: Request, error: Exception) -> Response:
    return error_response(request, SovitsError("Something went wrong here; the log has the details."))
