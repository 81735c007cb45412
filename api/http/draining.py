"""Requests while this process drains: what begins new work gets 503; reading, cancelling and stopping go on."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.errors import error_response
from core.errors import NotReady

_ENDING: Final = re.compile(r".*/(cancel|stop|control)")
"""Paths of requests that end work."""


def shutting_down() -> NotReady:
    """Return the error of a request that came too late."""
    return NotReady("The service is shutting down.", hint="Send the request again in a moment.")


class DrainingMiddleware:
    """Answers 503 with Retry-After to requests that would begin something."""

    def __init__(self, app: ASGIApp, draining: Callable[[Scope], bool]) -> None:
        self.app = app
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begins = scope["type"] == "http" and scope["method"] in ("POST", "PUT", "PATCH")
        if begins and self._draining(scope) and not _ENDING.fullmatch(scope["path"]):
            await error_response(Request(scope), shutting_down())(scope, receive, send)
        else:
            await self.app(scope, receive, send)
