"""Where Redis is: one server, servers that sentinels watch, or a cluster; REDIS_URL says which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from redis.connection import parse_url

from core.errors import NotReady, PermanentError

Kind = Literal["server", "sentinel", "cluster"]

DEFAULT_PORTS: Final[dict[Kind, int]] = {"server": 6379, "sentinel": 26379, "cluster": 6379}
PREFIX: Final = "prefix"
"""Option of a cluster's URL: the prefix of all keys, whose hash tag says which node has them."""
_SENTINEL_OPTIONS: Final = ("sentinel_username", "sentinel_password")
_EXAMPLES: Final = (
    "Addresses begin with redis://, rediss:// or unix://, as in redis://:PASSWORD@HOST:6379/0; with sentinels "
    "redis+sentinel://:PASSWORD@HOST1:26379,HOST2:26379/NAME/0; of a cluster redis+cluster://:PASSWORD@HOST1:6379,HOST2:6379."
)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """A parsed REDIS_URL."""

    kind: Kind
    seeds: tuple[tuple[str, int], ...]
    """The server, the sentinels, or some nodes of the cluster; none for a socket of Unix."""
    tls: bool
    options: Mapping[str, Any]
    """For redis-py: password, database, certificates."""
    service: str = ""
    """How the sentinels call the primary."""
    sentinel_options: Mapping[str, Any] | None = None
    """For connections to the sentinels; their password is not the server's."""
    prefix: str = ""
    """Of all keys, in a cluster."""

    def __str__(self) -> str:
        """Name the servers, without a password."""
        servers = ", ".join(f"{host}:{port}" for host, port in self.seeds) or str(self.options.get("path"))
        return {"server": servers, "sentinel": f"{self.service} of {servers}", "cluster": f"cluster {servers}"}[
            self.kind
        ]


def kind_of_url(url: str) -> Kind:
    """Return what a URL names, by its scheme."""
    scheme = url.partition("://")[0].lower()
    return "sentinel" if scheme.endswith("+sentinel") else "cluster" if scheme.endswith("+cluster") else "server"


def with_options(url: str, options: Mapping[str, str]) -> str:
    """Return a URL with further options; those that it has already stay."""
    parts = urlsplit(url)
    present = dict(parse_qsl(parts.query, keep_blank_values=True))
    return urlunsplit(parts._replace(query=urlencode({**options, **present})))


def cluster_prefix(prefix: str) -> str:
    """Return a prefix that keeps all keys on one node of a cluster: its name becomes a hash tag unless it has one."""
    if "{" in prefix and prefix.index("{") + 1 < prefix.find("}"):
        return prefix
    name = prefix.rstrip(":")
    return f"{{{name}}}{prefix[len(name) :]}"


def parse_redis_url(url: str) -> RedisAddress:
    """Parse REDIS_URL. Raises NotReady when it is empty, PermanentError when it is no address."""
    if not url:
        raise NotReady("There is no queue to connect to.", hint="Set REDIS_URL, or start the daemon here.")
    try:
        return _parse(url)
    except ValueError:  # whose message may hold a part of the password
        raise PermanentError("REDIS_URL is no address of a Redis server.", hint=_EXAMPLES) from None


def _parse(url: str) -> RedisAddress:
    kind = kind_of_url(url)
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower().removesuffix(f"+{kind}")
    credentials, at, hosts = rest.partition("?")[0].partition("/")[0].rpartition("@")
    path, query = urlsplit(f"//{rest}").path, urlsplit(f"//{rest}").query
    service = ""
    if kind == "sentinel":
        service, _, database = path.strip("/").partition("/")
        path = f"/{database}"
        if not service:
            raise ValueError("the name of the primary is missing")
    if kind != "server":
        seeds = tuple(_parse_host(host, DEFAULT_PORTS[kind]) for host in hosts.split(","))
        first = hosts.split(",")[0]
        url = f"{scheme}{separator}{credentials}{at}{first}{path}{'?' if query else ''}{query}"
    options: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
    options.pop("connection_class", None)
    prefix = options.pop(PREFIX, "")
    host, port = options.pop("host", "localhost"), options.pop("port", DEFAULT_PORTS["server"])
    if kind == "server":
        seeds = () if scheme == "unix" else ((host, port),)
    sentinel = {name: options.pop(name) for name in _SENTINEL_OPTIONS if name in options}
    tls = scheme == "rediss"
    return RedisAddress(
        kind,
        seeds,
        tls,
        options,
        service,
        {name.removeprefix("sentinel_"): value for name, value in sentinel.items()}
        | {name: value for name, value in options.items() if name.startswith("ssl_")},
        prefix,
    )


def _parse_host(text: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text.strip()}")
    if not parts.hostname:
        raise ValueError("a host without a name")
    return parts.hostname, parts.port or default_port
