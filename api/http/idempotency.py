"""The middleware behind `Idempotency-Key`: every POST under /api can be sent again without harm.

A key comes in the header or, in a JSON object, as `idempotency_key`. Answers of 2xx are remembered for 24 h; a request
that failed made nothing, so the next one with its key tries again. Uploads are hashed as they stream through.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Final

import orjson
from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http import errors
from api.http.auth import key_of
from api.http.request_body import FIELD, Body, Streamed, read_body
from api.http.responses import LingeringJson
from core.errors import QueueUnavailable, SovitsError
from core.jobs.idempotency import (
    LEASE_SECONDS,
    EarlierRequest,
    IdempotencyKeys,
    KeyInUse,
    KeyReused,
    KeyUnusable,
    RequestClaim,
    check_key,
    scope_key,
)

logger = logging.getLogger(__name__)

WAIT_SECONDS: Final = 10.0
"""How long the first request with a key is waited for before its repetition is refused."""
LARGEST_ANSWER: Final = 1 << 20
"""A longer one is not remembered; what creates something answers with a few lines."""


async def request_key(request: Request) -> str:
    """The idempotency key of a request, as only its sender at this path can have it; or nothing."""
    return str(request.scope.get("state", {}).get(FIELD, ""))


RequestKey = Annotated[str, Depends(request_key)]


@dataclass(slots=True)
class _Posted:
    """A POST with a key."""

    scope: Scope
    body: Body
    key: str

    @property
    def api_key(self) -> str:
        return key_of(Request(self.scope))

    @property
    def scoped_key(self) -> str:
        path = f"{self.scope['path']}?{self.scope['query_string'].decode('latin-1')}"
        return scope_key(self.key, self.api_key, path)


class IdempotentPosts:
    """Answers a repeated POST with the answer of the first. It goes inside whatever limits the size of bodies."""

    def __init__(self, app: ASGIApp, wait_seconds: float = WAIT_SECONDS) -> None:
        self.app = app
        self.wait_seconds = wait_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith("/api/"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        key = headers.get("idempotency-key", "")
        body = Body(receive)
        try:
            body = await read_body(headers, receive, bool(key))
            if key and body.key and key != body.key:
                raise KeyUnusable("The header and the body name two different idempotency keys.")
            if key := key or body.key:
                await self._once(_Posted(scope, body, check_key(key)), send)
                return
        except SovitsError as error:
            await _refuse(scope, error, body)(scope, receive, send)
            return
        await self.app(scope, body.receive, send)

    async def _once(self, posted: _Posted, send: Send) -> None:
        services = posted.scope["app"].state.services
        await services.keys.check(posted.api_key)
        store = IdempotencyKeys(services.queue)
        begun = await self._begin(store, posted)
        if isinstance(begun, EarlierRequest):
            answer = await _again(posted, begun, services.settings.max_upload_mb << 20)
            await answer(posted.scope, posted.body.receive, send)
            return
        posted.scope.setdefault("state", {})[FIELD] = posted.scoped_key
        first = _FirstAnswer(store, begun, posted.body, send)
        try:
            async with _kept(store, begun):
                await self.app(posted.scope, posted.body.receive, first.send)
        finally:
            if not first.remembered:
                with contextlib.suppress(QueueUnavailable):
                    await store.release(begun)

    async def _begin(self, store: IdempotencyKeys, posted: _Posted) -> RequestClaim | EarlierRequest:
        """A claim, or what the first answered; KeyInUse when that takes too long, KeyReused for another body."""
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self.wait_seconds, 0.01
        fingerprint = "" if posted.body.streamed else posted.body.fingerprint()
        while True:
            found = await store.claim(posted.scoped_key, fingerprint)
            if isinstance(found, RequestClaim):
                return found
            if fingerprint and found.fingerprint and found.fingerprint != fingerprint:
                raise _reused(posted)
            if found.response is not None:
                return found
            if loop.time() > deadline:
                raise KeyInUse(
                    f"The request with the idempotency key {posted.key!r} is still under way.",
                    hint="Send it again in a few seconds to get its answer.",
                )
            await asyncio.sleep(pause)
            pause = min(0.2, pause * 1.5)


class _FirstAnswer:
    """The answer of the first request, held back until it is remembered."""

    def __init__(self, store: IdempotencyKeys, claim: RequestClaim, body: Body, send: Send) -> None:
        self.remembered = False
        self._store = store
        self._claim = claim
        self._body = body
        self._send = send
        self._start: Message | None = None
        """While it is there, nothing was sent."""
        self._content = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _worth_remembering(message):
            self._start = message
            return
        if self._start is None or message["type"] != "http.response.body":
            await self._send(message)
            return
        self._content += message.get("body", b"")
        more = message.get("more_body", False)
        if more and len(self._content) <= LARGEST_ANSWER:
            return
        if not more and len(self._content) <= LARGEST_ANSWER and self._body.complete:
            await self._remember(self._start)
        start, self._start = self._start, None
        await self._send(start)
        await self._send({"type": "http.response.body", "body": self._content, "more_body": more})

    async def _remember(self, start: Message) -> None:
        answer = {"status": start["status"], "body": self._content.decode()}
        try:
            await self._store.store_response(self._claim, self._body.fingerprint(), orjson.dumps(answer).decode())
            self.remembered = True
        except QueueUnavailable as error:
            logger.warning("An answer could not be remembered under its idempotency key: %s", error.message)


async def _again(posted: _Posted, known: EarlierRequest, max_bytes: int) -> Response:
    """The first answer, once it is sure that the body is the same."""
    body = posted.body
    if isinstance(body, Streamed):
        while not body.complete and body.size <= max_bytes:
            if (await body.receive())["type"] == "http.disconnect":
                break
        if not body.complete or body.fingerprint() != known.fingerprint:
            raise _reused(posted)
    assert known.response is not None
    answer: dict[str, Any] = orjson.loads(known.response)
    headers = {"Idempotent-Replayed": "true"}
    return Response(answer["body"], answer["status"], headers, media_type="application/json")


def _reused(posted: _Posted) -> KeyReused:
    return KeyReused(
        f"The idempotency key {posted.key!r} came with another request before.",
        hint="A key belongs to one request; take a new one for this.",
    )


def _worth_remembering(start: Message) -> bool:
    kind = Headers(raw=start["headers"]).get("content-type", "")
    return 200 <= start["status"] < 300 and kind.partition(";")[0] == "application/json"


@contextlib.asynccontextmanager
async def _kept(store: IdempotencyKeys, claim: RequestClaim) -> AsyncIterator[None]:
    """Renew the claim for as long as the request takes; an upload may take minutes."""

    async def keep() -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            with contextlib.suppress(QueueUnavailable):
                await store.renew(claim)

    keeping = asyncio.create_task(keep())
    try:
        yield
    finally:
        keeping.cancel()


def _refuse(scope: Scope, error: SovitsError, body: Body) -> Response:
    answer = errors.respond(Request(scope), error)
    if body.streamed and not body.complete:  # it is still being sent
        return LingeringJson(orjson.loads(answer.body), answer.status_code)
    return answer
