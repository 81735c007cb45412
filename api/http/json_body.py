"""JSON that no route can handle is rejected before any route sees it: the databases and encoders behind have limits.

Python reads lone surrogates, integers of any size and NaN, and the place where one of them fails is far from the
request. Only a body that may hold one is parsed here; a body is read after its sender was identified.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http import errors
from core.errors import InvalidRequest, NotFound, SovitsError

MAX_INTEGER: Final = 2**63 - 1
MAX_DEPTH: Final = 64
"""Levels of nesting; the deepest body of the API has six."""
SPOKEN_FIELDS: Final = {
    "/v1/audio/speech": "input",
    "/synthesize": "target",
    "/tts": "text",
    "/": "text",
}
"""Path → the text to speak, in which half of a surrogate pair is spoken as the sign for an unknown character."""
STAGE_PATH: Final = re.compile(r"/api/v1/experiments/[^/]+/stages/.+")
"""Routes that check the range of every number themselves, and name the parameter."""
_SUSPICIOUS: Final = re.compile(
    rb"\\u(?:[dD][89a-fA-F]|0000)|\xed[\xa0-\xbf]|\d{19}|NaN|Infinity|[eE]\+?\d{3}|^\xef|^[^\x00]?\x00|^\xfe|^\xff"
)
"""Surrogates, NUL, long numbers, what JSON does not know, and encodings other than UTF-8."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class JsonBodyMiddleware:
    """Reject bodies with values that cannot be stored. It belongs inside the limit of body sizes."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        error: SovitsError | None = None
        if "\0" in scope["path"]:
            error = NotFound("No path has a NUL character.", hint="GET /docs lists every path.")
        elif b"%00" in scope["query_string"]:
            error = InvalidRequest("The query has a NUL character.", hint="Leave out %00.")
        if error is not None:
            await errors.error_response(Request(scope), error)(scope, receive, send)
            return
        if not _has_json(Headers(scope=scope)):
            await self.app(scope, receive, send)
            return
        messages: list[Message] = []
        failure: HTTPException | None = None
        try:
            while not messages or (messages[-1]["type"] == "http.request" and messages[-1].get("more_body", False)):
                messages.append(await receive())
        except HTTPException as too_large:  # the application meets the same error
            failure = too_large
        content = b"".join(message.get("body", b"") for message in messages)
        problem = None if failure else find_problem(content, scope["path"])
        if problem is not None:
            await errors.error_response(Request(scope), problem)(scope, receive, send)
            return

        async def receive_again() -> Message:
            nonlocal failure
            if messages:
                return messages.pop(0)
            if failure is not None:
                raised, failure = failure, None
                raise raised
            return await receive()

        await self.app(scope, receive_again, send)


def find_problem(content: bytes, url_path: str = "") -> SovitsError | None:
    """Return the error for the first value of a JSON body that cannot be handled; None for others, and for no JSON."""
    deep = content.count(b"[") + content.count(b"{") > MAX_DEPTH
    if not deep and not _SUSPICIOUS.search(content):
        return None
    try:
        document = json.loads(content)
    except RecursionError:
        return _too_deep()
    except ValueError as error:
        if "digits" in str(error):  # Python's own limit, 4,300
            return errors.InvalidBody(f"The body has an integer that is too long. {_INTEGERS}")
        return None  # the route says that it is no JSON
    for path, value in _walk("", document, 0):
        if value is _TOO_DEEP:
            return _too_deep()
        if isinstance(value, int) and STAGE_PATH.fullmatch(url_path):
            continue
        sentence = _explain(value)
        if "surrogate" in sentence and path == SPOKEN_FIELDS.get(url_path):
            continue
        if sentence:
            name = path.encode(errors="backslashreplace").decode()
            return errors.InvalidBody(
                f"The field '{name}' {sentence}" if name else f"The body {sentence}",
                hint="GET /docs lists every field.",
                details={"fields": [name], "param": name or None},
            )
    return None


_INTEGERS: Final = "Integers go from -2^63 to 2^63-1."
_TOO_DEEP: Final = object()


def _explain(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and not -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
        digits = str(value)
        return f"is {digits[:24]}{'…' if len(digits) > 24 else ''}. {_INTEGERS}"
    if isinstance(value, float) and not math.isfinite(value):
        return "is not a finite number."
    if isinstance(value, str):
        if _SURROGATE.search(value):
            return "has half of a surrogate pair, which is no character."
        if "\0" in value:
            return "has a NUL character."
    return ""


def _walk(path: str, value: Any, depth: int) -> Iterator[tuple[str, object]]:
    """Yield every key and value with its path, as `segments.3.text`."""
    if depth > MAX_DEPTH:
        yield path, _TOO_DEEP
    elif isinstance(value, dict):
        for key, item in value.items():
            name = f"{path}.{key}" if path else key
            yield name, key
            yield from _walk(name, item, depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(f"{path}.{index}" if path else str(index), item, depth + 1)
    else:
        yield path, value


def _too_deep() -> SovitsError:
    return errors.InvalidBody(f"The body is nested more than {MAX_DEPTH} levels deep.", hint="Send a flatter one.")


def _has_json(headers: Headers) -> bool:
    """Return whether there is a body that routes read as JSON: without a type, too."""
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return False
    media_type = headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    return media_type in ("", "application/json") or media_type.endswith("+json")
