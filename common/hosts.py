"""Hosts in URLs: an IPv6 address stands in brackets there."""

from __future__ import annotations

from typing import Final

_LOOPBACK_OF_ANY: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared, not bound


def bracketed(host: str) -> str:
    """Return a host as URLs write it."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def http_url(listening_host: str, port: int) -> str:
    """Return the URL at which this host reaches a server that listens on an address."""
    return f"http://{bracketed(_LOOPBACK_OF_ANY.get(listening_host, listening_host))}:{port}"
