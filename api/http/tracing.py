"""A span for every request, which its jobs find by the request's id."""

from __future__ import annotations

from contextlib import suppress

from redis.exceptions import RedisError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.metrics import route_template
from core.logs import current_request
from core.tracing import PARENT_SECONDS, Tracing, current_traceparent


class TracingMiddleware:
    """Traces requests and WebSockets; one that may create jobs leaves its span where their workers find it."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self.app = app
        self.tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.tracing.tracer is None or scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        method = scope.get("method", "WEBSOCKET")
        headers = dict(scope["headers"])
        parent = headers.get(b"traceparent", b"").decode(errors="replace")
        with self.tracing.span(method, parent=parent, kind="server") as span:
            assert span is not None
            if method not in ("GET", "HEAD", "OPTIONS") or scope["path"] == "/tts":
                await self._announce(scope)

            async def send_traced(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            try:
                await self.app(scope, receive, send_traced)
            finally:
                route = route_template(scope)
                span.update_name(f"{method} {route}")
                span.set_attributes(
                    {"http.request.method": method, "http.route": route, "request.id": current_request.get()}
                )

    async def _announce(self, scope: Scope) -> None:
        key = self.tracing.parent_key(current_request.get())
        with suppress(RedisError):
            await scope["app"].state.services.redis.set(key, current_traceparent(), ex=PARENT_SECONDS)
