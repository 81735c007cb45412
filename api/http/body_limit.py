"""The limit of bodies that are read into memory. Uploads go to disk and have a limit of their own."""

from __future__ import annotations

import re
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES: Final = 4 << 20
"""The longest text with every character escaped takes 1.2 MB of JSON."""
UPLOAD_PATHS: Final = re.compile(r"/api/v1/(files|voices/import|task/[^/]+/files/upload)")


_LIMIT: Final = "max_body_bytes"
"""Name of a request's own limit in the state of its scope."""


def limit_body(scope: Scope, max_bytes: int) -> None:
    """Give one request a smaller limit than the application's."""
    scope.setdefault("state", {})[_LIMIT] = max_bytes


class BodyLimitMiddleware:
    """Reject a larger body by its Content-Length, or as soon as more bytes than that have arrived."""

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or UPLOAD_PATHS.fullmatch(scope["path"]):
            await self.app(scope, receive, send)
            return
        announced = next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)
        max_bytes: int = scope.get("state", {}).get(_LIMIT, self.max_bytes)
        received, rejected = 0, False

        async def receive_limited() -> Message:
            nonlocal received, rejected
            message = {"type": "http.request"} if announced > max_bytes and not rejected else await receive()
            received += len(message.get("body", b""))
            if max(announced, received) > max_bytes and not rejected:
                rejected = True  # the rest is read only to be discarded
                # The only kind of error that the framework lets through while it reads a body.
                raise HTTPException(413, f"The body is larger than {max_bytes >> 20} MiB.")
            return message

        await self.app(scope, receive_limited, send)
