"""Short-lived tokens in a URL, for what cannot send headers: EventSource and WebSocket in a browser.

A token is random; Redis keeps its SHA-256 with the id of the API key that it was created with, so that it ends with the
key. It is for streams only, has one scope, and lasts for some minutes, since URLs end up in logs and histories.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.requests import HTTPConnection

from core.errors import QueueUnavailable, Unauthorized

TOKEN_SECONDS: Final = 300
TOKEN_PREFIX: Final = "st-"  # noqa: S105  # no secret
PARAMETER: Final = "token"
STREAM_PATHS: Final = re.compile(r"/api/.*/(progress|logs|logs/stream|stream|events)")
"""Routes that stream events; the token in a URL is accepted there and for WebSockets only."""


class StreamTokens:
    """Creates tokens and finds out who created one."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = f"{prefix}stream-token:"

    async def create(self, key_id: str, scope: str) -> str:
        """Return a new token for the caller with an API key (or the local user, without one)."""
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)
        try:
            await self._redis.set(self._key(token), f"{scope} {key_id}", ex=TOKEN_SECONDS)
        except RedisError as error:
            raise QueueUnavailable("Redis does not answer, so no token can be created.", hint="Try again.") from error
        return token

    async def find(self, token: str) -> tuple[str, str]:
        """Return the id of the key and the scope; raise Unauthorized for an unknown or expired token."""
        try:
            value = await self._redis.get(self._key(token))
        except RedisError as error:
            raise QueueUnavailable("Redis does not answer, so no token can be checked.", hint="Try again.") from error
        if value is None:
            raise Unauthorized(
                "This stream token is unknown or has expired.", hint="Create another: POST /api/v1/stream-tokens."
            )
        scope, _, key_id = (value.decode() if isinstance(value, bytes) else str(value)).partition(" ")
        return key_id, scope

    def _key(self, token: str) -> str:
        return self._prefix + hashlib.sha256(token.encode(errors="replace")).hexdigest()


def request_token(connection: HTTPConnection) -> str:
    """Return the stream token in the URL of a stream or a WebSocket; an empty string for other requests."""
    if connection.scope["type"] == "http" and (
        connection.scope["method"] != "GET" or not STREAM_PATHS.fullmatch(connection.scope["path"])
    ):
        return ""
    return connection.query_params.get(PARAMETER, "")
