"""What is known about the request that is handled: its id, its client's address, and whose key came with it.

The outermost layer. A client may name an id in `X-Request-ID`; every response carries the id, and log lines and jobs
name it. Proxies in TRUSTED_PROXIES may say for whom they ask, and below which path they offer this server.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.translations import prefers_chinese
from core.ids import new_id
from core.logs import current_request
from core.setting_values import is_root_path

REQUEST_ID_HEADER: Final = "X-Request-ID"
WARNING_HEADER: Final = "X-Warning"
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+/=@-]{0,127}")
_SCHEMES: Final = ("http", "https")
_OWN_SEGMENTS: Final = ("api", "v1", "audio")
"""First segments of own paths that a prefix may share."""


@dataclass(slots=True)
class RequestContext:
    """One request."""

    id: str
    address: str
    """IP address of the client; empty on a Unix socket."""
    caller: str = ""
    """Who sent the valid key that came with the request; empty without one."""
    warnings: list[str] = field(default_factory=list)
    """What the response says beside its content, in `X-Warning`: a code and what it is about."""
    chinese: bool = False
    """Whether the client prefers Chinese (`Accept-Language`)."""
    localized: bool = False
    """Whether the response has sentences that depend on the client's language."""
    root_path: str = ""
    """The path below which a proxy offers this server, such as `/voice`; empty at a root."""

    @property
    def content_language(self) -> str:
        """The language of the response, where it has sentences in another one than English; else empty."""
        return "zh" if self.localized and self.chinese else ""


current_context: ContextVar[RequestContext | None] = ContextVar("current_context", default=None)
"""The request that this task handles."""


def external_path(path: str) -> str:
    """Return a path of this server as its client has to request it: below the path that a proxy has put before it."""
    context = current_context.get()
    return f"{context.root_path}{path}" if context else path


def warn_caller(warning: str) -> None:
    """Say something beside the content of the response: ASCII, a code and what it is about, once."""
    context = current_context.get()
    if context is not None and warning not in context.warnings:
        context.warnings.append(warning)


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

    def __init__(self, app: ASGIApp, proxies: TrustedProxies, root_path: str = "") -> None:
        self.app = app
        self.proxies = proxies
        self.root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        sent_id = headers.get(REQUEST_ID_HEADER, "")
        context = RequestContext(
            id=sent_id if _REQUEST_ID.fullmatch(sent_id) else new_id("req"),
            address=self.proxies.client_address(scope),
            chinese=prefers_chinese(headers.get("accept-language", "")),
        )
        root_path = str(scope.get("root_path", "")) or self.root_path
        if scope.get("client") and scope["client"][0] in self.proxies:
            scheme = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
            if scheme in _SCHEMES and scope["type"] == "http":
                scope["scheme"] = scheme
            prefix = headers.get("x-forwarded-prefix", "").rpartition(",")[2].strip().rstrip("/")
            if is_root_path(prefix):
                root_path = prefix
        context.root_path = root_path
        _move_below(scope, root_path)

        async def send_with_id(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept", "websocket.http.response.start"):
                message.setdefault("headers", [])
                response_headers = MutableHeaders(scope=message)
                response_headers[REQUEST_ID_HEADER] = context.id
                if context.warnings:
                    response_headers[WARNING_HEADER] = ", ".join(context.warnings)
                if context.localized:
                    response_headers.add_vary_header("Accept-Language")
                    if context.content_language:
                        response_headers["Content-Language"] = context.content_language
                if root_path and "location" in response_headers:
                    response_headers["location"] = _external_location(response_headers["location"], root_path)
            await send(message)

        context_marker, id_marker = current_context.set(context), current_request.set(context.id)
        try:
            await self.app(scope, receive, send_with_id)
        finally:
            current_request.reset(id_marker)
            current_context.reset(context_marker)


def _move_below(scope: Scope, root_path: str) -> None:
    """Let routes match as at a root, whether or not the proxy left its prefix in the path; URLs get the prefix.

    `app_root_path` is where Starlette looks for it when it builds a URL.
    """
    scope["root_path"], scope["app_root_path"] = "", root_path
    rest = _rest_below(scope["path"], root_path)
    if rest is not None:
        scope["path"], scope["raw_path"] = rest, rest.encode()


def _rest_below(path: str, root_path: str) -> str | None:
    """Return what follows the prefix in a path; None where the path does not begin with it."""
    if not root_path or not f"{path}/".startswith(f"{root_path}/"):
        return None
    rest = path[len(root_path) :] or "/"
    if root_path.split("/")[1] in _OWN_SEGMENTS and not f"{rest}/".startswith(f"{root_path}/"):
        return None  # the prefix is removed already, and this is our own `/api`
    return rest


def _external_location(location: str, root_path: str) -> str:
    """Return the target of a redirect below the prefix of the proxy."""
    parts = urlsplit(location)
    if not parts.path.startswith("/") or _rest_below(parts.path, root_path) is not None:
        return location
    return urlunsplit(parts._replace(path=root_path + parts.path))
