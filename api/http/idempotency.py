"""The middleware behind `Idempotency-Key`: every POST that creates something can be repeated safely.

A key comes in the header or, in a JSON object, as `idempotency_key`. Responses of 2xx are remembered for 24 h. After a
request that failed, or whose process died, the next one with its key runs again and finds what that one has created
(`core/creation.py`). Uploads are hashed as they stream by.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
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
from api.http.access import ONLY_REPEATED
from api.http.auth import request_api_key
from api.http.request_body import FIELD, RequestBody, StreamedBody, read_body
from api.http.request_context import current_context
from api.http.responses import LingeringJsonResponse
from core.creation import KeyedCreation, create_as
from core.encryption import SecretBox, SecretsLocked
from core.errors import QueueUnavailable, SovitsError
from core.jobs.idempotency import (
    KEEP_SECONDS,
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
from core.settings import Settings

logger = logging.getLogger(__name__)

SYNTHESIZE_PATH: Final = "/synthesize"
"""A route whose response names something that it stored for a while: a WAV."""
STORING: Final = ("/api/", "/v1/audio/voice_consents", "/v1/audio/voices")
"""How the paths begin of routes that store something for good."""
WAIT_SECONDS: Final = 10.0
"""How long a repeated request waits for the first one to end before it is rejected."""
MAX_STORED_BYTES: Final = 1 << 20
"""A longer response is not remembered; what creates something responds with a few lines."""


def takes_key(method: str, path: str) -> bool:
    """Return whether a request may have an idempotency key; of the other POSTs none creates anything that stays."""
    return method == "POST" and (path.startswith(STORING) or path == SYNTHESIZE_PATH)


async def idempotency_key(request: Request) -> str:
    """Return the request's idempotency key, made specific to its sender and path; empty without one."""
    return str(request.scope.get("state", {}).get(FIELD, ""))


IdempotencyKey = Annotated[str, Depends(idempotency_key)]


@dataclass(slots=True)
class _KeyedRequest:
    """A POST with an idempotency key."""

    scope: Scope
    body: RequestBody
    key: str

    @property
    def api_key(self) -> str:
        return request_api_key(Request(self.scope))

    @property
    def scoped_key(self) -> str:
        path = f"{self.scope['path']}?{self.scope['query_string'].decode('latin-1')}"
        return scope_key(self.key, self.api_key, path)

    def response_box(self) -> SecretBox:
        """Return what encrypts the stored response, which may hold a secret that nobody else must read.

        Hosts that share no key of the installation derive one from what only the sender knows.
        """
        settings: Settings = self.scope["app"].state.services.settings
        box = settings.secret_box
        if box.may_create or settings.secrets_key.get_secret_value():
            return box
        digest = hashlib.sha256("\0".join(("response", self.api_key, self.key)).encode()).digest()
        return SecretBox(box.key_file, (base64.urlsafe_b64encode(digest).decode(),))

    def reused(self) -> KeyReused:
        return KeyReused(
            f"The idempotency key {self.key!r} came with another request before.",
            hint="A key belongs to one request; take a new one for this.",
        )


class IdempotencyMiddleware:
    """Answer a repeated POST with the response to the first. It belongs inside the limit of body sizes."""

    def __init__(self, app: ASGIApp, wait_seconds: float = WAIT_SECONDS) -> None:
        self.app = app
        self.wait_seconds = wait_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not takes_key(scope["method"], scope["path"]):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        key = headers.get("idempotency-key", "")
        body = RequestBody(receive)
        try:
            body = await read_body(headers, receive, canonical=bool(key))
            if key and body.key and key != body.key:
                raise KeyUnusable("The header and the body name two different idempotency keys.")
            if key := key or body.key:
                request = _KeyedRequest(scope, body, check_key(key))
                if not scope.get("state", {}).get(ONLY_REPEATED):
                    await self._handle(request, send)
                    return
                if response := await self._repeat_first_key(request):
                    await response(scope, receive, send)
                    return
        except SovitsError as error:
            response = errors.error_response(Request(scope), error)
            if body.streamed and not body.complete:  # it is still being sent
                response = LingeringJsonResponse(
                    orjson.loads(response.body), response.status_code, dict(response.headers)
                )
            await response(scope, receive, send)
            return
        await self.app(scope, body.receive, send)

    async def _handle(self, request: _KeyedRequest, send: Send) -> None:
        """Run the first request with a key; answer a later one with the response to the first."""
        services = request.scope["app"].state.services
        store = IdempotencyKeys(services.queue)
        claim = await self._claim(store, request)
        if isinstance(claim, EarlierRequest):
            response = await _replayed_response(request, claim, services.settings.max_upload_mb << 20)
            await response(request.scope, request.body.receive, send)
            return
        request.scope.setdefault("state", {})[FIELD] = request.scoped_key
        keep_seconds = KEEP_SECONDS
        if request.scope["path"] == SYNTHESIZE_PATH:
            keep_seconds = min(keep_seconds, services.settings.result_expiry_seconds)
        recorder = _ResponseRecorder(store, claim, request, send, keep_seconds)
        try:
            creation = KeyedCreation.from_seed(claim.seed, repeated=claim.repeated)
            async with _renewing(store, claim):
                with create_as(creation):
                    await self.app(request.scope, request.body.receive, recorder.send)
        finally:
            if not recorder.remembered:
                with contextlib.suppress(QueueUnavailable):
                    await store.release(claim)

    async def _repeat_first_key(self, request: _KeyedRequest) -> Response | None:
        """Return the response to the request that created the first key, for a caller who has none as it was lost.

        None for another request, which is rejected for want of a key. Whether only its body differs is not told, and it
        counts as a wrong key: the response holds an admin's.
        """
        services = request.scope["app"].state.services
        guess = "\0".join(("first key", request.key, request.body.fingerprint()))
        await services.keys.check_guesses(guess)
        store, fingerprint = IdempotencyKeys(services.queue), request.body.fingerprint()
        pauses = self._pauses(request)
        while (entry := await store.find(request.scoped_key)) and entry.fingerprint == fingerprint:
            if entry.response is not None:
                return await _replayed_response(request, entry, services.settings.max_upload_mb << 20)
            await anext(pauses)
        await services.keys.count_guess(guess)
        return None

    async def _claim(self, store: IdempotencyKeys, request: _KeyedRequest) -> RequestClaim | EarlierRequest:
        """RequestClaim the key, or wait for the response to the request that has it.

        KeyInUse when that takes longer than `wait_seconds`, KeyReused when the other request had another body.
        """
        fingerprint = "" if request.body.streamed else request.body.fingerprint()
        pauses = self._pauses(request)
        while True:
            entry = await store.claim(request.scoped_key, fingerprint)
            if isinstance(entry, RequestClaim):
                return entry
            if fingerprint and entry.fingerprint and entry.fingerprint != fingerprint:
                raise request.reused()
            if entry.response is not None:
                return entry
            await anext(pauses)

    async def _pauses(self, request: _KeyedRequest) -> AsyncIterator[None]:
        """Pause a little longer each time; raise KeyInUse once it took longer than `wait_seconds` in all."""
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self.wait_seconds, 0.01
        while loop.time() <= deadline:
            await asyncio.sleep(pause)
            yield
            pause = min(0.2, pause * 1.5)
        raise KeyInUse(
            f"The request with the idempotency key {request.key!r} is still under way.",
            hint="Send it again in a few seconds to get its answer.",
        )


class _ResponseRecorder:
    """The `send` of a first request: it holds the response back until it is remembered."""

    def __init__(
        self, store: IdempotencyKeys, claim: RequestClaim, request: _KeyedRequest, send: Send, keep_seconds: int
    ) -> None:
        self.remembered = False
        self._store = store
        self._claim = claim
        self._request = request
        self._body = request.body
        self._send = send
        self._keep_seconds = keep_seconds
        self._start: Message | None = None
        """The response's first message while it is held back."""
        self._content = b""

    async def send(self, message: Message) -> None:
        """Pass a message on, or hold it back while the response is JSON of 2xx, short and incomplete."""
        if message["type"] == "http.response.start":
            media_type = Headers(raw=message["headers"]).get("content-type", "").partition(";")[0]
            if 200 <= message["status"] < 300 and media_type == "application/json":
                self._start = message
                return
        if self._start is None or message["type"] != "http.response.body":
            await self._send(message)
            return
        self._content += message.get("body", b"")
        more = message.get("more_body", False)
        short = len(self._content) <= MAX_STORED_BYTES
        if more and short:
            return
        if short and self._body.complete:
            await self._remember(self._start)
        start, self._start = self._start, None
        await self._send(start)
        await self._send({"type": "http.response.body", "body": self._content, "more_body": more})

    async def _remember(self, start: Message) -> None:
        context = current_context.get()
        language = context.content_language if context is not None else ""
        response = {"status": start["status"], "body": self._content.decode(), "language": language}
        try:
            text = self._request.response_box().encrypt(orjson.dumps(response).decode())
            await self._store.store_response(self._claim, self._body.fingerprint(), text, self._keep_seconds)
            self.remembered = True
        except QueueUnavailable as error:
            logger.warning("An answer could not be remembered under its idempotency key: %s", error.message)


async def _replayed_response(request: _KeyedRequest, entry: EarlierRequest, max_bytes: int) -> Response:
    """Return the response to the first request; raise KeyReused if this one has another body."""
    body = request.body
    if isinstance(body, StreamedBody):
        while not body.complete and body.size <= max_bytes:
            if (await body.receive())["type"] == "http.disconnect":
                break
        if not body.complete or body.fingerprint() != entry.fingerprint:
            raise request.reused()
    assert entry.response is not None
    try:
        response: dict[str, Any] = orjson.loads(request.response_box().decrypt(entry.response))
    except SecretsLocked:
        raise SecretsLocked(
            "The response to the first request with this idempotency key was encrypted with another key.",
            hint="Put that key into SECRETS_KEY, or send another idempotency key.",
        ) from None
    headers = {"Idempotent-Replayed": "true"}
    if language := response.get("language"):
        headers["Content-Language"] = language
    return Response(response["body"], response["status"], headers, media_type="application/json")


@contextlib.asynccontextmanager
async def _renewing(store: IdempotencyKeys, claim: RequestClaim) -> AsyncIterator[None]:
    """Renew the claim for as long as the block runs; an upload may take minutes."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            with contextlib.suppress(QueueUnavailable):
                await store.renew(claim)

    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()
