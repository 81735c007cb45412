"""HEAD wherever GET is: the same status and headers, no body."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.cancellation import cancel_and_wait


class HeadMiddleware:
    """Let the application answer HEAD as GET, and end it as soon as the headers are known.

    So no file is read, no stream goes on, and no further sentence is spoken for a body that nobody gets.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        complete = asyncio.Event()

        async def send_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                complete.set()

        answering = asyncio.ensure_future(self.app({**scope, "method": "GET"}, receive, send_headers))
        waiting = asyncio.ensure_future(complete.wait())
        try:
            await asyncio.wait({answering, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_and_wait(waiting)
            await cancel_and_wait(answering)
        if not answering.cancelled():
            answering.result()
