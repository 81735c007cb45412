"""The envelope of the model service: `{code, msg, data}` around every JSON response; `code` is the HTTP status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Generic, TypeVar

from pydantic import BaseModel

from api.http.errors import NativeErrors
from api.http.responses import JsonResponse
from core.errors import SovitsError

Data = TypeVar("Data")

PREFIX: Final = "/api/v2"
SUCCESS: Final = "success"


class Envelope(BaseModel, Generic[Data]):
    """Every response but streams and files."""

    code: int
    msg: str
    data: Data


class EnvelopedErrors:
    """The error format of the model service: the native error as the envelope's `data`."""

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
        """Return the status as it is."""
        return status

    def body(self, error: SovitsError, status: int) -> Mapping[str, object]:
        """Return the error in an envelope, with its message and hint as `msg`."""
        message = f"{error.message} {error.hint}".strip()
        return {"code": status, "msg": message, "data": NativeErrors().body(error, status)}


def enveloped(data: object) -> JsonResponse:
    """Return a successful response."""
    return JsonResponse({"code": 200, "msg": SUCCESS, "data": data})
