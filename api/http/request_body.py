"""A request's body as the idempotency keys see it: small JSON whole, anything else hashed as it streams through."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from core.jobs.idempotency import KeyUnusable

FIELD: Final = "idempotency_key"


class Body:
    """What came or will come; `receive` hands it on to the application."""

    streamed = False
    complete = True
    """Whether the fingerprint is of the whole body."""

    def __init__(self, receive: Receive, content: bytes = b"") -> None:
        self._receive = receive
        self._messages: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]
        self.key = ""
        """What the body names as its idempotency key."""
        self._canonical = content

    async def receive(self) -> Message:
        return self._messages.pop(0) if self._messages else await self._receive()

    def fingerprint(self) -> str:
        return hashlib.sha256(self._canonical).hexdigest()

    def understand(self, content: bytes, wanted: bool) -> None:
        """Take the key out of a JSON object; with one, in the body or the header, make the body comparable."""
        if not wanted and f'"{FIELD}"'.encode() not in content:
            return
        try:
            document: Any = json.loads(content)
        except (ValueError, RecursionError):
            return  # the route says what is wrong with it
        if isinstance(document, dict) and FIELD in document:
            key = document.pop(FIELD)
            if key is not None and not isinstance(key, str):
                raise KeyUnusable(f"The field {FIELD!r} must be a string.")
            self.key = key or ""
            self._messages[0]["body"] = json.dumps(document).encode()
        self._canonical = json.dumps(document, sort_keys=True).encode()


class Broken(Body):
    """One that could not be read; whoever reads it next is told why."""

    def __init__(self, receive: Receive, error: HTTPException | None) -> None:
        super().__init__(receive)
        self._error = error
        self._gone = error is None

    async def receive(self) -> Message:
        if self._gone:
            return {"type": "http.disconnect"}
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return await self._receive()


class Streamed(Body):
    """An upload: hashed as it goes by."""

    streamed = True

    def __init__(self, receive: Receive, content_type: str) -> None:
        super().__init__(receive)
        self.complete = False
        self.size = 0
        self._hash = BoundaryHash(_boundary(content_type))

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            chunk = message.get("body", b"")
            self.size += len(chunk)
            self._hash.update(chunk)
            self.complete = not message.get("more_body", False)
        return message

    def fingerprint(self) -> str:
        return self._hash.hexdigest()


class BoundaryHash:
    """SHA-256 of a stream with every boundary left out: a client makes up another one each time it sends a form."""

    def __init__(self, boundary: bytes) -> None:
        self._boundary = boundary
        self._hash = hashlib.sha256()
        self._tail = b""

    def update(self, chunk: bytes) -> None:
        if not self._boundary:
            self._hash.update(chunk)
            return
        *whole, last = (self._tail + chunk).split(self._boundary)
        for part in whole:
            self._hash.update(part + b"\0boundary\0")
        held = min(len(last), len(self._boundary) - 1)  # the beginning of the next boundary may be in it
        self._hash.update(last[: len(last) - held])
        self._tail = last[len(last) - held :]

    def hexdigest(self) -> str:
        whole = self._hash.copy()
        whole.update(self._tail)
        return whole.hexdigest()


async def read_body(headers: Headers, receive: Receive, wanted: bool) -> Body:
    """The body of a POST; `wanted`: its header names a key. Reads only JSON, whose size is limited before this."""
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return Body(receive)  # the route may never look at it
    content_type = headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        return Streamed(receive, content_type)
    parts: list[bytes] = []
    try:
        while (message := await receive())["type"] == "http.request":
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                content = b"".join(parts)
                body = Body(receive, content)
                body.understand(content, wanted)
                return body
    except HTTPException as error:
        return Broken(receive, error)
    return Broken(receive, None)


def _boundary(content_type: str) -> bytes:
    kind, _, parameters = content_type.partition(";")
    if not kind.strip().lower().startswith("multipart/"):
        return b""
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "boundary":
            return value.strip().strip('"').encode("latin-1", "replace")
    return b""
