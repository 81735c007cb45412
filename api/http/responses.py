"""Answers: JSON by orjson, and the refusal of a body that is still being sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

import orjson
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

LINGER_SECONDS: Final = 5.0


class Json(Response):
    """JSON, made without a second look at the values."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


class LingeringJson(Json):
    """An answer to someone who is still sending: what comes is thrown away for a while.

    A socket closed with unread data in it is reset by the kernel, and the sender never reads why.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while (await receive()).get("more_body"):
                    continue
        except TimeoutError:
            pass  # sent long enough
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class Streaming(StreamingResponse):
    """A stream whose source is closed however it ends, so that nothing works on for nobody."""

    def __init__(
        self,
        content: AsyncGenerator[bytes, None],
        status_code: int = 200,
        headers: dict[str, str] | None = None,
        media_type: str | None = None,
    ) -> None:
        super().__init__(content, status_code, headers, media_type)
        self.content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self.content.aclose()
