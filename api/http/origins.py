"""Pages of other sites: which may read responses (CORS), and which may change something.

Without keys a request proves nothing about its sender, so that the origin that browsers name is the only protection
from any page that a user of this machine opens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http import errors
from api.http.hosts import KeyRequired
from common.program_name import program_name
from core.errors import PermanentError
from core.exposure import is_loopback
from core.settings import Settings

SAFE_METHODS: Final = frozenset(("GET", "HEAD", "OPTIONS"))
ALLOWED_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
DEFAULT_HEADERS: Final = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-API-Key, X-Request-ID"
EXPOSED_HEADERS: Final = (
    "X-Request-ID, Retry-After, Idempotent-Replayed, Content-Disposition, Content-Range, Accept-Ranges, ETag, "
    "Location, X-Sample-Rate, X-Warning, X-AIGC, X-Voice-Prompt"
)
PREFLIGHT_SECONDS: Final = 600
"""How long a browser may remember the response to a preflight."""
NULL: Final = "null"
"""The origin of a page that was opened as a file, and of a sandboxed frame of any site."""
_HEADER_NAMES: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,1000}")


class ForbiddenOrigin(PermanentError):
    """A page of a site that may not use this server."""

    code = "forbidden_origin"
    status = 403


class AllowedOrigins:
    """Which origins may read responses, and which may change something without a key."""

    def __init__(self, settings: Settings) -> None:
        self._configured = {origin.lower().rstrip("/") for origin in settings.cors_origins}
        self._any = "*" in self._configured

    def may_read(self, origin: str) -> bool:
        """Return whether pages of another origin may read responses."""
        return origin == NULL or self.may_write(origin)

    def may_write(self, origin: str) -> bool:
        """Return whether pages of another origin may use unsafe methods without a key."""
        if self._any or origin.lower() in self._configured:
            return True
        try:
            parts = urlsplit(origin)
            host = parts.hostname or ""
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and (is_loopback(host) or host.endswith(".localhost"))


class OriginMiddleware:
    """Answer preflights, add the headers of CORS to every response, and reject what other sites' pages may not do."""

    def __init__(self, app: ASGIApp, origins: AllowedOrigins, key_required: KeyRequired) -> None:
        self.app = app
        self.origins = origins
        self.key_required = key_required

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin", "")
        same_origin = bool(origin) and _is_same_origin(origin, headers.get("host", ""))
        if scope["type"] == "websocket":
            # Every WebSocket here is an event stream, which only reads.
            if origin and not same_origin and not self.origins.may_read(origin) and not await self.key_required(scope):
                await send({"type": "websocket.close", "code": 1008})
            else:
                await self.app(scope, receive, send)
            return
        readable = bool(origin) and (same_origin or self.origins.may_read(origin))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                response_headers = MutableHeaders(scope=message)
                response_headers.add_vary_header("Origin")
                if readable:
                    response_headers["Access-Control-Allow-Origin"] = origin
                    response_headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
            await send(message)

        if origin and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            response = _preflight(headers) if readable else _rejection(scope, origin)
        elif (
            origin
            and scope["method"] not in SAFE_METHODS
            and not same_origin
            and not self.origins.may_write(origin)
            and not await self.key_required(scope)
        ):
            response = _rejection(scope, origin)
        else:
            await self.app(scope, receive, send_with_headers)
            return
        await response(scope, receive, send_with_headers)


def _is_same_origin(origin: str, host: str) -> bool:
    """Compare without the scheme, which a proxy may have changed; `host` was checked already."""
    _, separator, origin_host = origin.partition("://")
    return bool(separator) and origin_host.lower() == host.lower()


def _preflight(headers: Mapping[str, str]) -> Response:
    requested = headers.get("access-control-request-headers", "")
    allowed = {
        "Access-Control-Allow-Methods": ALLOWED_METHODS,
        "Access-Control-Allow-Headers": requested if _HEADER_NAMES.fullmatch(requested) else DEFAULT_HEADERS,
        "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        "Vary": "Access-Control-Request-Headers",
    }
    if headers.get("access-control-request-private-network") == "true":
        allowed["Access-Control-Allow-Private-Network"] = "true"
    return Response(status_code=204, headers=allowed)


def _rejection(scope: Scope, origin: str) -> Response:
    if origin == NULL:
        error = ForbiddenOrigin(
            "A page that was opened as a file (origin `null`) may only read, because no API key is required.",
            hint=f"Create an API key (`{program_name()} keys create NAME`) and send it, or set CORS_ORIGINS=null.",
        )
    else:
        error = ForbiddenOrigin(
            f"Pages of {origin[:200]!r} may not use this server.", hint="Add the origin to CORS_ORIGINS."
        )
    return errors.error_response(Request(scope), error)
