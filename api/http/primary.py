"""Requests to a site that is not the primary one: reading goes on, everything else gets 503."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.errors import error_response
from core.primary_lease import NotPrimary, PrimaryLease

READING: Final = frozenset(("GET", "HEAD", "OPTIONS"))


class PrimaryMiddleware:
    """Answers 503 with Retry-After to requests that may write while this site does not hold the lease."""

    def __init__(self, app: ASGIApp, lease: PrimaryLease | None) -> None:
        """`lease`: None where sites are not fenced."""
        self.app = app
        self._lease = lease

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._lease is not None and scope["type"] == "http" and scope["method"] not in READING:
            try:
                self._lease.check()
            except NotPrimary as error:
                await error_response(Request(scope), error)(scope, receive, send)
                return
        await self.app(scope, receive, send)
