"""Response classes: JSON by orjson, streams that close their source, a rejection of a body that is still being sent."""

from __future__ import annotations

import asyncio
import contextlib
import re
import unicodedata
from collections.abc import AsyncGenerator
from typing import Any, Final
from urllib.parse import quote

import orjson
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from core.errors import NotFound
from core.storage import Storage

LINGER_SECONDS: Final = 5.0


class JsonResponse(Response):
    """JSON that orjson serializes; the content is not validated."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


class LingeringJsonResponse(JsonResponse):
    """A response to a client that is still sending its body: the rest is read and discarded for some seconds.

    The kernel resets a socket that is closed with unread data, and the client never reads why.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while (await receive()).get("more_body"):
                    continue
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class ClosingStreamingResponse(StreamingResponse):
    """A stream whose source is closed however the response ends, so that no work goes on without a reader."""

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


def attachment(filename: str) -> str:
    """Return the header `Content-Disposition` of a file to save under a name (RFC 6266).

    `filename` is for clients that know nothing else than ASCII, `filename*` (RFC 8187) has the whole name.
    """
    decomposed = unicodedata.normalize("NFKD", filename)
    plain = "".join(character for character in decomposed if not unicodedata.combining(character))
    plain = re.sub(r"[^ !#$&+.0-9A-Z^_`a-z{}~()@,=;'-]", "_", plain)
    encoded = quote(filename, safe="!#$&+-.^_`|~")
    return f'attachment; filename="{plain}"' + ("" if plain == filename else f"; filename*=UTF-8''{encoded}")


async def stored_file_response(
    storage: Storage,
    key: str,
    media_type: str,
    *,
    filename: str | None = None,
    sha256: str = "",
    missing: NotFound,
) -> FileResponse:
    """Return an artifact from storage, with support for `Range`; raise `missing` when its bytes are gone.

    `filename` is the name to save it under; `sha256` becomes the ETag.
    """
    path = await asyncio.to_thread(storage.path, key)
    if not await asyncio.to_thread(path.is_file):
        raise missing
    headers = {"X-Content-Type-Options": "nosniff"}
    if sha256:
        headers["ETag"] = f'"{sha256}"'
    if filename is not None:
        headers["Content-Disposition"] = attachment(filename)
    return FileResponse(path, media_type=media_type, headers=headers)
