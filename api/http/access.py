"""Who may use a route: every route declares it, and a request acts as its caller from its first line to its last.

`AccessMiddleware` finds out who calls before a body is read (`KeyRing.check`), and `RouteAccess`, a dependency of every
router, requires the scopes. Until then a request acts as `ANONYMOUS`, who sees only what is shared. The caller is in
`request.state.caller`, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
from fastapi import Depends, FastAPI
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope
from starlette.websockets import WebSocket

from api.http import errors
from api.http.auth import KeyRing, request_api_key
from api.http.body_limit import limit_body
from api.http.request_context import current_context
from api.http.responses import LingeringJsonResponse
from api.http.route_table import all_routes
from api.http.stream_tokens import StreamTokens, request_token
from common.program_name import program_name
from core.access import ANONYMOUS, Caller, Scope, reset_caller, set_caller
from core.errors import Forbidden, SovitsError, Unauthorized

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_KEYLESS_BODY_BYTES: Final = 1 << 20
"""Of a body that is read because the key may be in it."""
KEY_FIELD: Final = "apikey"
"""The field of a body that holds the key."""
ONLY_REPEATED: Final = "only_repeated"
"""In the state of a request without a key: it is rejected unless it repeats the one that created the first key."""


@dataclass(frozen=True, slots=True)
class RouteAccess:
    """What a key must be allowed to do to use a route; a dependency."""

    reading: tuple[Scope, ...]
    """One of them is needed for GET and HEAD."""
    writing: tuple[Scope, ...]
    """One of them is needed for all other methods."""
    public: bool = False
    """No key is needed; who sends none sees what is shared."""
    key_in_body: bool = False
    """The key may also be the field `apikey` of a JSON body."""
    first_key: bool = False
    """Creates keys, the first one without a key; who sends that request again needs none for its response."""

    async def __call__(self, request: HTTPConnection) -> None:
        """Raise Unauthorized or Forbidden unless the caller may use the route; act as the caller from here on."""
        try:
            await self._require(request)
        except SovitsError as error:
            if request.scope["type"] == "websocket":
                raise errors.RejectedSocket(error) from None
            raise

    async def _require(self, request: HTTPConnection) -> None:
        caller: Caller = request.state.caller
        if self.key_in_body and isinstance(request, Request) and (key := await _key_in_body(request)):
            caller = await _identify(request, key)
        if self.public:
            return
        if caller is ANONYMOUS:
            await _key_ring(request).check("")
        scopes = self.reading if _method(request) in SAFE_METHODS else self.writing
        if not any(caller.has(scope) for scope in scopes):
            raise _missing_scope(caller, scopes, request)


def require_scope(*scopes: Scope) -> Any:
    """Return a dependency that requires one of these scopes, whatever the method."""
    return Depends(RouteAccess(scopes, scopes))


def require_scopes(reading: Sequence[Scope], writing: Sequence[Scope]) -> Any:
    """Return a dependency that requires one of some scopes for GET and HEAD, and one of others for other methods."""
    return Depends(RouteAccess(tuple(reading), tuple(writing)))


PUBLIC: Final[Any] = Depends(RouteAccess((), (), public=True))
ANY_KEY: Final = require_scope(Scope.READ, Scope.SPEAK, Scope.TRAIN)
ADMINS: Final = require_scope(Scope.ADMIN)
FIRST_KEY: Final[Any] = Depends(RouteAccess((Scope.ADMIN,), (Scope.ADMIN,), first_key=True))
TRAINERS: Final = require_scope(Scope.TRAIN)
TRAINING: Final = require_scopes((Scope.READ, Scope.TRAIN), (Scope.TRAIN,))
SPEAKING: Final = require_scopes((Scope.READ, Scope.SPEAK), (Scope.SPEAK,))
SPEAK_WITH_KEY_IN_BODY: Final[Any] = Depends(RouteAccess((Scope.SPEAK,), (Scope.SPEAK,), key_in_body=True))
VOICES: Final = require_scopes((Scope.READ, Scope.SPEAK, Scope.TRAIN), (Scope.TRAIN,))
JOBS: Final = require_scopes((Scope.READ, Scope.SPEAK, Scope.TRAIN), (Scope.SPEAK, Scope.TRAIN))
RESOURCES: Final = require_scopes((Scope.READ,), (Scope.ADMIN,))


@dataclass(frozen=True, slots=True)
class DeclaredRoute:
    """A route of the application and what it declares."""

    path: str
    methods: frozenset[str]
    access: tuple[RouteAccess, ...]
    """All of it must be met. Empty only for what the framework adds itself, which is open: a test checks that."""


def declared_routes(app: FastAPI) -> list[DeclaredRoute]:
    """Return every route, in the order in which they are tried."""
    declared = []
    for route in all_routes(app):
        dependencies = [depends.dependency for depends in getattr(route, "dependencies", ())]
        access = tuple(dependency for dependency in dependencies if isinstance(dependency, RouteAccess))
        declared.append(DeclaredRoute(route.path, frozenset(getattr(route, "methods", None) or ()), access))
    return declared


def public_operations(app: FastAPI) -> set[tuple[str, str]]:
    """Return (method, path) of what needs no key."""
    return {
        (method, route.path)
        for route in declared_routes(app)
        if all(access.public for access in route.access)
        for method in route.methods
    }


class AccessMiddleware:
    """Identify the caller before a body is read, and reject who has no valid key. Belongs outside the body limit."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._routes: list[tuple[re.Pattern[str], DeclaredRoute]] = []
        """Every route, with the pattern of its path; read at the first request that needs it."""

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        token = set_caller(ANONYMOUS)
        try:
            connection = HTTPConnection(scope)
            connection.state.caller = ANONYMOUS
            try:
                await self._identify(connection)
            except SovitsError as error:
                if scope["type"] == "websocket":
                    response = errors.error_response(HTTPConnection(scope), error)
                    await WebSocket(scope, receive, send).send_denial_response(response)
                else:
                    await _rejection(scope, error)(scope, receive, send)
                return
            await self.app(scope, receive, send)
        finally:
            reset_caller(token)

    async def _identify(self, connection: HTTPConnection) -> None:
        """Find out who calls; an invalid key does not matter where none is needed, or where it may be in the body."""
        try:
            if not request_api_key(connection) and (token := request_token(connection)):
                await _identify_by_token(connection, token)
            else:
                await _identify(connection, request_api_key(connection))
        except SovitsError as error:
            route = self._find_route(connection.scope)
            if route is None:
                if not _has_body(connection.headers):
                    return  # the router answers that there is no such route
                raise
            if not route.access or any(access.public for access in route.access):
                return  # who cannot be identified sees what is shared
            if isinstance(error, Unauthorized) and any(access.key_in_body for access in route.access):
                limit_body(connection.scope, MAX_KEYLESS_BODY_BYTES)
                return
            if (
                isinstance(error, Unauthorized)
                and not request_api_key(connection)
                and any(access.first_key for access in route.access)
            ):
                limit_body(connection.scope, MAX_KEYLESS_BODY_BYTES)
                connection.scope["state"][ONLY_REPEATED] = True
                return
            raise

    def _find_route(self, scope: AsgiScope) -> DeclaredRoute | None:
        if not self._routes:
            self._routes = [(compile_path(route.path)[0], route) for route in declared_routes(scope["app"])]
        for pattern, route in self._routes:
            if pattern.fullmatch(scope["path"]) and (not route.methods or scope.get("method") in route.methods):
                return route
        return None


async def _identify(connection: HTTPConnection, key: str) -> Caller:
    """Act as the caller with this key from here on, and count the request."""
    keys = _key_ring(connection)
    caller = await keys.check(key)
    return await _act_as(connection, keys, caller)


async def _identify_by_token(connection: HTTPConnection, token: str) -> Caller:
    """Act as the caller who created a stream token, with the one scope that it has."""
    keys = _key_ring(connection)
    tokens: StreamTokens = connection.app.state.services.stream_tokens
    key_id, scope = await tokens.find(token)
    caller = await keys.find_by_id(key_id)
    if caller is None or not caller.has(Scope(scope)):
        raise Unauthorized("The API key that created this stream token is no longer valid.")
    return await _act_as(connection, keys, replace(caller, scopes=frozenset({Scope(scope)})))


async def _act_as(connection: HTTPConnection, keys: KeyRing, caller: Caller) -> Caller:
    await keys.count_request(caller)
    connection.state.caller = caller
    set_caller(caller)
    if context := current_context.get():
        context.caller = caller.owner or ""
    return caller


def _key_ring(connection: HTTPConnection) -> KeyRing:
    keys: KeyRing = connection.app.state.services.keys
    return keys


async def _key_in_body(request: Request) -> str:
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError:
        return ""
    key = body.get(KEY_FIELD) if isinstance(body, dict) else ""
    return key if isinstance(key, str) else ""


def _rejection(scope: AsgiScope, error: SovitsError) -> ASGIApp:
    """Return the error as a response, which outlasts a body that is still being sent."""
    response = errors.error_response(Request(scope), error)
    if not _has_body(Headers(scope=scope)):
        return response
    return LingeringJsonResponse(orjson.loads(response.body), response.status_code, dict(response.headers))


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _method(request: HTTPConnection) -> str:
    """Return the method; a WebSocket reads, like GET."""
    return str(request.scope.get("method", "GET"))


def _missing_scope(caller: Caller, scopes: Sequence[Scope], request: HTTPConnection) -> Forbidden:
    names = " or ".join(f"`{scope}`" for scope in scopes)
    own = ", ".join(sorted(caller.scopes)) or "none"
    return Forbidden(
        f"{_method(request)} {request.url.path} needs the scope {names}; this API key has {own}.",
        hint="Use a key that has it, or let an admin create one: POST /api/v1/keys, or "
        f"`{program_name()} keys create`.",
    )
