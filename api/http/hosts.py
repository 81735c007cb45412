"""The names that this server answers to: a page on another site must not reach it under a name of its own.

A page at http://evil.example whose name is made to resolve to 127.0.0.1 (DNS rebinding) shares its origin with the
server, so only the name in `Host` gives it away.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http import errors
from api.http.request_context import TrustedProxies
from core.errors import PermanentError
from core.exposure import is_loopback
from core.settings import Settings

EXEMPT_PATHS: Final = frozenset(("/health", "/healthz", "/readyz", "/metrics"))
"""Balancers and monitors ask these under any name."""
_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^\[\]:/@\s]+)(?::\d{1,5})?")

KeyRequired = Callable[[Scope], Awaitable[bool]]
"""Whether a request without an API key is rejected."""


class MisdirectedRequest(PermanentError):
    """A request for a host name that this server does not answer to."""

    code = "unknown_host"
    status = 421


class AllowedHosts:
    """Names that `Host` may have: loopback names, IP addresses, the bound name, and those of ALLOWED_HOSTS."""

    def __init__(self, settings: Settings) -> None:
        self.configured = bool(settings.allowed_hosts)
        self._names = {"localhost", settings.host.lower().rstrip(".")}
        if not is_loopback(settings.host):
            own = socket.gethostname().lower()
            self._names |= {own, f"{own}.local"}
        self._any = "*" in settings.allowed_hosts
        self._suffixes: list[str] = []
        for name in settings.allowed_hosts:
            name = name.lower().rstrip(".")
            if name.startswith("*."):
                self._suffixes.append(name[1:])
            else:
                self._names.add(name)

    def __contains__(self, host: str) -> bool:
        """Return whether a `Host` header, with or without a port, is allowed."""
        name = host_name(host)
        if name is None:
            return False
        if self._any or name in self._names or name.endswith((".localhost", *self._suffixes)):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


class HostMiddleware:
    """Reject names that are not allowed with 421, where that matters; nothing behind it sees one.

    Keys protect a server from other sites as well, so that with keys, any name will do unless ALLOWED_HOSTS is set.
    A name that is not allowed is replaced by the address that the request arrived at: no URL in a response has it.
    """

    def __init__(self, app: ASGIApp, hosts: AllowedHosts, proxies: TrustedProxies, key_required: KeyRequired) -> None:
        self.app = app
        self.hosts = hosts
        self.proxies = proxies
        self.key_required = key_required

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = MutableHeaders(scope=scope)
        names = self._requested_names(scope, headers)
        unknown = [name for name in names if name not in self.hosts]
        if names and not unknown:
            if len(names) > 1:
                headers["host"] = names[1]
            await self.app(scope, receive, send)
            return
        enforced = unknown and scope["path"] not in EXEMPT_PATHS
        if enforced and (self.hosts.configured or not await self.key_required(scope)):
            await self._reject(unknown[0], scope, receive, send)
            return
        headers["host"] = _bound_address(scope)
        await self.app(scope, receive, send)

    def _requested_names(self, scope: Scope, headers: Headers) -> list[str]:
        """Return the `Host`, and what a trusted proxy was asked for: a page could make up either header."""
        names = headers.getlist("host")
        if scope.get("client") and scope["client"][0] in self.proxies:
            forwarded = ",".join(headers.getlist("x-forwarded-host"))
            names += [name for part in forwarded.split(",") if (name := part.strip())]
        return names

    async def _reject(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        error = MisdirectedRequest(
            f"This server does not answer to the host name {name[:100]!r}.",
            hint="Use its IP address, or add the name to ALLOWED_HOSTS.",
        )
        await errors.error_response(Request(scope), error)(scope, receive, send)


def host_name(host: str) -> str | None:
    """Return the name or the address in a `Host` header in lower case; None when it is neither."""
    match = _HOST.fullmatch(host)
    return match["name"].strip("[]").lower().rstrip(".") if match else None


def _bound_address(scope: Scope) -> str:
    """Return the address and port at which a request arrived."""
    address, port = (scope.get("server") or ("localhost", None))[:2]
    name = f"[{address}]" if ":" in str(address) else str(address)
    return f"{name}:{port}" if port else name
