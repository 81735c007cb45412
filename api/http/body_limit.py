"""How large a body may be that is read into memory; uploads go to disk and have their own cap."""

from __future__ import annotations

import re
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES: Final = 4 << 20
"""The longest text with every character escaped takes 1.2 MB of JSON."""
STREAMED: Final = re.compile(r"/api/v1/(files|voices/import|task/[^/]+/files/upload)")
"""Paths of uploads."""


class LimitBodies:
    """Refuses a larger body by its announced length, or as soon as so much has come."""

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or STREAMED.fullmatch(scope["path"]):
            await self.app(scope, receive, send)
            return
        announced = next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)
        received, refused = 0, False

        async def counted() -> Message:
            nonlocal received, refused
            message = {"type": "http.request"} if announced > self.max_bytes and not refused else await receive()
            received += len(message.get("body", b""))
            if max(announced, received) > self.max_bytes and not refused:
                refused = True  # what comes now is read only to be thrown away
                # The one kind of error that the framework lets through while it reads a body.
                raise HTTPException(413, f"The body is larger than {self.max_bytes >> 20} MiB.")
            return message

        await self.app(scope, counted, send)
