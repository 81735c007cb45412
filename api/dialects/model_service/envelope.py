"""The envelope of the model service: `{code, msg, data}` around every JSON answer; `code` is the HTTP status."""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar

import orjson
from fastapi import Response
from pydantic import BaseModel

from api.http.responses import Json

Data = TypeVar("Data")

PREFIX: Final = "/api/v2"
SUCCESS: Final = "success"


class Envelope(BaseModel, Generic[Data]):
    """Every answer but streams and files."""

    code: int
    msg: str
    data: Data


def enveloped(data: Any, status: int = 200) -> Json:
    """An answer."""
    return Json({"code": status, "msg": SUCCESS, "data": data}, status)


def wrapped(answer: Response) -> Json:
    """What a route of our own API answered."""
    return enveloped(orjson.loads(answer.body))
