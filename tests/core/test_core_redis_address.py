"""REDIS_URL names a server, sentinels or a cluster, with what redis-py needs for each."""

from __future__ import annotations

import pytest

from core.errors import PermanentError
from core.redis_address import cluster_prefix, parse_redis_url
from core.settings import read_settings


def test_a_server_has_a_password_a_database_and_certificates():
    address = parse_redis_url("rediss://singer:p%2Fw@host:7/3?ssl_ca_certs=/ca.pem")

    assert (address.kind, address.seeds, address.tls) == ("server", (("host", 7),), True)
    assert dict(address.options) == {"username": "singer", "password": "p/w", "db": 3, "ssl_ca_certs": "/ca.pem"}


def test_sentinels_have_a_password_of_their_own():
    url = "redis+sentinel://:hush@one:1,two,[::1]:5/voices/2?sentinel_password=other"
    address = parse_redis_url(url)

    assert (address.kind, address.service) == ("sentinel", "voices")
    assert address.seeds == (("one", 1), ("two", 26379), ("::1", 5))
    assert dict(address.options) == {"password": "hush", "db": 2}
    assert address.sentinel_options == {"password": "other"}
    assert "hush" not in str(address)


@pytest.mark.parametrize(
    "url", ["http://host", "redis+sentinel://host:1", "redis+cluster://", "redis+moon://host", "redis://host:port"]
)
def test_what_is_no_address_is_rejected_without_showing_it(url: str):
    with pytest.raises(PermanentError, match="REDIS_URL is no address of a Redis server"):
        parse_redis_url(url)


@pytest.mark.parametrize(
    ("prefix", "expected"), [("sovits:", "{sovits}:"), ("{a}b:", "{a}b:"), ("studio", "{studio}"), ("a:b:", "{a:b}:")]
)
def test_in_a_cluster_the_prefix_keeps_all_keys_on_one_node(prefix: str, expected: str):
    assert cluster_prefix(prefix) == expected


def test_settings_add_the_prefix_of_a_cluster_and_the_files_of_tls():
    settings = read_settings(redis_url="rediss+cluster://one:1,two:2", redis_ca_file="/ca.pem")
    address = parse_redis_url(settings.resolved_redis_url)
    again = parse_redis_url(read_settings(redis_url=settings.resolved_redis_url).resolved_redis_url)

    assert (address.prefix, address.options["ssl_ca_certs"]) == ("{sovits}:", "/ca.pem")
    assert settings.key_prefix == "{sovits}:"
    assert again == address
    assert read_settings(redis_url="redis://one").key_prefix == "sovits:"
