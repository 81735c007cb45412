"""The envelope of the model service: `{code, msg, data}` around every JSON response; `code` is the HTTP status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel

from api.http.errors import NativeErrors
from api.http.responses import JsonResponse
from core.errors import SovitsError

Data = TypeVar("Data")

PREFIX: Final = "/api/v2"
UNPROCESSABLE: Final = 422
BAD_REQUEST: Final = 400


class Envelope(BaseModel, Generic[Data]):
    """Every response but streams and files."""

    code: int
    msg: str
    data: Data


class EnvelopedErrors:
    """The error format of the model service: the native error as the envelope's `data`; a bad body is 400, not 422."""

    schema_name = "EnvelopedError"
    schema: Mapping[str, object] = {
        "title": "EnvelopedError",
        "type": "object",
        "required": ["code", "msg", "data"],
        "properties": {
            "code": {"type": "integer", "description": "The HTTP status."},
            "msg": {"type": "string"},
            "data": {"$ref": f"#/components/schemas/{NativeErrors.schema_name}"},
        },
    }

    def applies_to(self, path: str) -> bool:
        """Return whether the path belongs to the model service."""
        return f"{path}/".startswith(f"{PREFIX}/")

    def status(self, error: SovitsError, status: int, path: str) -> int:
        """Return 400 for a body that does not fit, else the status as it is."""
        return BAD_REQUEST if status == UNPROCESSABLE else status

    def body(self, error: SovitsError, status: int) -> Mapping[str, object]:
        """Return the error in an envelope, with its message and hint as `msg`."""
        return {"code": status, "msg": error.detail, "data": NativeErrors().body(error, status)}


def enveloped(data: object) -> JsonResponse:
    """Return a successful response."""
    return JsonResponse(in_envelope(data))


def in_envelope(data: object, code: int = 200, message: str = "") -> dict[str, Any]:
    """Return the body of a response; `message` is empty on success."""
    return {"code": code, "msg": message, "data": data}
