"""Writes the audit log: every call that may change something, and every rejection."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.origins import SAFE_METHODS
from api.http.request_context import current_context
from core.audit import REJECTED_STATUSES, AuditEntry, AuditLog, result_of

MAX_PATH_LENGTH: Final = 500


class AuditMiddleware:
    """Append an entry when a request has been answered. It belongs right inside the request's context."""

    def __init__(self, app: ASGIApp, log: AuditLog) -> None:
        self.app = app
        self.log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        status = 500 if scope["type"] == "http" else 403

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "websocket.accept":
                status = 101
            await send(message)

        try:
            await self.app(scope, receive, send_noted)
        finally:
            if scope.get("method", "WEBSOCKET") not in SAFE_METHODS or status in REJECTED_STATUSES:
                self.log.append(_entry(scope, status))


def _entry(scope: Scope, status: int) -> AuditEntry:
    context = current_context.get()
    assert context is not None
    return AuditEntry(
        time=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        request_id=context.id,
        caller=str(getattr(scope.get("state", {}).get("caller"), "key_id", "")),
        address=context.address,
        method=scope.get("method", "WEBSOCKET"),
        path=scope["path"][:MAX_PATH_LENGTH].encode(errors="backslashreplace").decode(),
        status=status,
        result=result_of(status),
    )
