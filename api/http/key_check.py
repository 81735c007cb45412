"""The API key is checked before a body is read: a caller without one makes the server neither buffer nor parse."""

from __future__ import annotations

from typing import Final

import orjson
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http import errors
from api.http.auth import request_api_key
from api.http.body_limit import limit_body
from api.http.responses import LingeringJsonResponse
from core.errors import SovitsError, Unauthorized

KEY_IN_BODY_PATHS: Final = frozenset({"/synthesize"})
"""Paths whose body may hold the key; their routes check it themselves."""
MAX_KEYLESS_BODY_BYTES: Final = 1 << 20
"""Of a body that is read because the key may be in it."""
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class KeyCheckMiddleware:
    """Reject a request with a body and without a valid key in its headers. It belongs outside the limit of bodies."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _SAFE_METHODS or not _has_body(Headers(scope=scope)):
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        try:
            await scope["app"].state.services.keys.check(request_api_key(request))
        except SovitsError as error:
            if isinstance(error, Unauthorized) and scope["path"] in KEY_IN_BODY_PATHS:
                limit_body(scope, MAX_KEYLESS_BODY_BYTES)
            else:
                rejection = errors.error_response(request, error)
                headers = dict(rejection.headers)
                lingering = LingeringJsonResponse(orjson.loads(rejection.body), rejection.status_code, headers)
                await lingering(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
