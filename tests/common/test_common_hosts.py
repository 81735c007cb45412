"""Hosts in URLs."""

from __future__ import annotations

import pytest

from common.hosts import http_url
from core.exposure import is_loopback
from core.settings import Settings


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9880"),
        ("0.0.0.0", "http://127.0.0.1:9880"),
        ("::", "http://[::1]:9880"),
        ("::1", "http://[::1]:9880"),
        ("2001:db8::5", "http://[2001:db8::5]:9880"),
        ("voices.example", "http://voices.example:9880"),
    ],
)
def test_a_listening_address_has_a_url_to_reach_it(host: str, url: str) -> None:
    assert http_url(host, 9880) == url


def test_ipv6_addresses_of_the_settings_may_have_brackets() -> None:
    for spelling in ("::1", "[::1]", " ::1 "):
        settings = Settings(_env_file=None, host=spelling, redis_host=spelling, redis_port=6380)

        assert settings.host == "::1"
        assert is_loopback(settings.host)
        assert settings.resolved_redis_url == "redis://[::1]:6380/0"
