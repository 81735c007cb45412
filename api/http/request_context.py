"""What is known about the request that is handled: its id, its client's address, and whose key came with it.

The outermost layer. A client may name an id in `X-Request-ID`; every response carries the id, and log lines and jobs
name it. Proxies in TRUSTED_PROXIES may say for whom they ask.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.ids import new_id
from core.logs import current_request

REQUEST_ID_HEADER: Final = "X-Request-ID"
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+/=@-]{0,127}")
_SCHEMES: Final = ("http", "https")


@dataclass(slots=True)
class RequestContext:
    """One request."""

    id: str
    address: str
    """IP address of the client; empty on a Unix socket."""
    caller: str = ""
    """Who sent the valid key that came with the request; empty without one."""


current_context: ContextVar[RequestContext | None] = ContextVar("current_context", default=None)
"""The request that this task handles."""


class TrustedProxies:
    """The addresses whose `X-Forwarded-…` headers are believed."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [ipaddress.ip_network(network, strict=False) for network in networks]

    def __contains__(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self._networks)

    def client_address(self, scope: Scope) -> str:
        """Return the address of the client: the last one in the chain of proxies that is no trusted proxy itself."""
        address = str(scope["client"][0]) if scope.get("client") else ""
        if address not in self:
            return address
        forwarded = ",".join(Headers(scope=scope).getlist("x-forwarded-for"))
        for hop in reversed([part.strip().strip("[]") for part in forwarded.split(",")]):
            try:
                address = str(ipaddress.ip_address(hop))
            except ValueError:
                break
            if address not in self:
                break
        return address


class RequestContextMiddleware:
    """Give every request an id and a context."""

    def __init__(self, app: ASGIApp, proxies: TrustedProxies) -> None:
        self.app = app
        self.proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        sent_id = headers.get(REQUEST_ID_HEADER, "")
        context = RequestContext(
            id=sent_id if _REQUEST_ID.fullmatch(sent_id) else new_id("req"),
            address=self.proxies.client_address(scope),
        )
        if scope["type"] == "http" and scope.get("client") and scope["client"][0] in self.proxies:
            scheme = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
            if scheme in _SCHEMES:
                scope["scheme"] = scheme

        async def send_with_id(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                message.setdefault("headers", [])
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = context.id
            await send(message)

        context_marker, id_marker = current_context.set(context), current_request.set(context.id)
        try:
            await self.app(scope, receive, send_with_id)
        finally:
            current_request.reset(id_marker)
            current_context.reset(context_marker)
