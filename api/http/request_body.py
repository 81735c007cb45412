"""A request's body as idempotency keys need it: JSON is read as a whole, anything else is hashed as it streams by."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from core.jobs.idempotency import KeyUnusable

FIELD: Final = "idempotency_key"


class RequestBody:
    """A body that was read as a whole, or an empty one; `receive` passes it on to the application."""

    streamed = False
    complete = True
    """Whether the fingerprint is that of the whole body."""

    def __init__(self, receive: Receive, content: bytes = b"") -> None:
        self._receive = receive
        self._messages: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]
        self.key = ""
        """The idempotency key that the body names."""
        self._canonical = content

    async def receive(self) -> Message:
        """Return the next ASGI message."""
        return self._messages.pop(0) if self._messages else await self._receive()

    def fingerprint(self) -> str:
        """Return the SHA-256 of the body; the same for JSON objects that differ only in their key or their layout."""
        return hashlib.sha256(self._canonical).hexdigest()

    def parse(self, content: bytes, canonical: bool) -> None:
        """Remove the idempotency key from a JSON object, and make the fingerprint independent of the layout.

        `canonical`: the header names a key, so that the fingerprint is needed although the body names none.
        """
        if not canonical and f'"{FIELD}"'.encode() not in content:
            return
        try:
            document: Any = json.loads(content)
        except (ValueError, RecursionError):
            return  # the route reports the error
        if isinstance(document, dict) and FIELD in document:
            key = document.pop(FIELD)
            if key is not None and not isinstance(key, str):
                raise KeyUnusable(f"The field {FIELD!r} must be a string.")
            self.key = key or ""
            self._messages[0]["body"] = json.dumps(document).encode()
        self._canonical = json.dumps(document, sort_keys=True).encode()


class UnreadableBody(RequestBody):
    """A body that could not be read: too large, or its client disconnected. The application gets the same error."""

    def __init__(self, receive: Receive, error: HTTPException | None) -> None:
        super().__init__(receive)
        self._error = error
        self._disconnected = error is None

    async def receive(self) -> Message:
        if self._disconnected:
            return {"type": "http.disconnect"}
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return await self._receive()


class StreamedBody(RequestBody):
    """An upload, hashed as it streams by."""

    streamed = True

    def __init__(self, receive: Receive, content_type: str) -> None:
        super().__init__(receive)
        self.complete = False
        self.size = 0
        """Bytes so far."""
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
    """SHA-256 of a multipart form without its boundary, which a client draws anew for every request."""

    def __init__(self, boundary: bytes) -> None:
        self._boundary = boundary
        self._hash = hashlib.sha256()
        self._tail = b""

    def update(self, chunk: bytes) -> None:
        """Add the next bytes."""
        if not self._boundary:
            self._hash.update(chunk)
            return
        *parts, last = (self._tail + chunk).split(self._boundary)
        for part in parts:
            self._hash.update(part + b"\0boundary\0")
        kept = min(len(last), len(self._boundary) - 1)  # it may hold the beginning of the next boundary
        self._hash.update(last[: len(last) - kept])
        self._tail = last[len(last) - kept :]

    def hexdigest(self) -> str:
        """Return the hash of all bytes so far."""
        complete = self._hash.copy()
        complete.update(self._tail)
        return complete.hexdigest()


async def read_body(headers: Headers, receive: Receive, canonical: bool) -> RequestBody:
    """Return the body of a POST. Only JSON, whose size is limited already, is read here.

    `canonical`: a header names an idempotency key (see RequestBody.parse).
    """
    if headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers:
        return RequestBody(receive)  # the route may never read it
    content_type = headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        return StreamedBody(receive, content_type)
    parts: list[bytes] = []
    try:
        while (message := await receive())["type"] == "http.request":
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                content = b"".join(parts)
                body = RequestBody(receive, content)
                body.parse(content, canonical)
                return body
    except HTTPException as error:
        return UnreadableBody(receive, error)
    return UnreadableBody(receive, None)


def _boundary(content_type: str) -> bytes:
    media_type, _, parameters = content_type.partition(";")
    if not media_type.strip().lower().startswith("multipart/"):
        return b""
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "boundary":
            return value.strip().strip('"').encode("latin-1", "replace")
    return b""
