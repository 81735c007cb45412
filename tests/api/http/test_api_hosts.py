"""Names that the server answers to, and what a request's headers may make it say."""

from __future__ import annotations

import httpx
import pytest
from api_support import Api, running

from api.http.hosts import AllowedHosts, host_name
from core.settings import Settings, read_settings

ALLOWED = ("localhost", "localhost:9880", "LOCALHOST.", "127.0.0.1:1", "[::1]:9880", "192.168.1.7", "app.localhost:80")
REJECTED = (
    "evil.example",
    "evil.example:9880",
    "localhost.evil.example",
    "evil@localhost",
    "localhost:x",
    "2130706433",
)


@pytest.mark.parametrize("host", ALLOWED)
async def test_loopback_names_and_addresses_are_answered(api: Api, host: str) -> None:
    response = await api.client.get("/api/v1/tasks", headers={"Host": host})

    assert response.status_code == 200


@pytest.mark.parametrize("host", REJECTED)
async def test_other_names_are_misdirected_without_keys(api: Api, host: str) -> None:
    response = await api.client.get("/api/v1/tasks", headers={"Host": host})

    assert response.status_code == 421
    assert response.json()["error"]["code"] == "unknown_host"
    assert "ALLOWED_HOSTS" in response.json()["error"]["hint"]


@pytest.mark.parametrize("path", ["/health", "/healthz", "/readyz", "/metrics"])
async def test_monitors_may_ask_under_any_name(api: Api, path: str) -> None:
    assert (await api.client.get(path, headers={"Host": "balancer.example"})).status_code in (200, 503)


async def test_names_of_the_setting_are_answered_and_others_not_even_with_keys(settings: Settings) -> None:
    chosen = settings.model_copy(update={"allowed_hosts": ("voice.example", "*.lan"), "valid_api_keys": ("k1",)})
    async with running(chosen) as api:
        statuses = {
            host: (await api.client.get("/api/v1/tasks", headers={"Host": host, "X-API-Key": "k1"})).status_code
            for host in ("voice.example:443", "pc.lan", "lan", "other.example", "localhost")
        }

    assert statuses == {"voice.example:443": 200, "pc.lan": 200, "lan": 421, "other.example": 421, "localhost": 200}


async def test_with_keys_any_name_is_answered_but_never_repeated(settings: Settings) -> None:
    async with running(settings.model_copy(update={"valid_api_keys": ("k1",)})) as api:
        headers = {"Host": "evil.example", "X-API-Key": "k1"}
        listed = await api.client.get("/api/v1/tasks", headers=headers)
        redirect = await api.client.get("/api/v1/tasks/", headers=headers, follow_redirects=False)

    assert listed.status_code == 200
    assert redirect.status_code == 307
    assert redirect.headers["location"] == f"{api.url}/api/v1/tasks"


async def test_a_forwarded_name_counts_from_trusted_proxies_only(settings: Settings) -> None:
    forwarded = {"X-Forwarded-Host": "voice.example", "X-Forwarded-Proto": "https"}
    chosen = settings.model_copy(update={"allowed_hosts": ("voice.example",)})
    async with running(chosen) as api:
        untrusted = await api.client.get("/api/v1/tasks/", headers=forwarded, follow_redirects=False)
    async with running(chosen.model_copy(update={"trusted_proxies": ("127.0.0.0/8",)})) as api:
        trusted = await api.client.get("/api/v1/tasks/", headers=forwarded, follow_redirects=False)
        unknown = await api.client.get("/api/v1/tasks", headers={"X-Forwarded-Host": "evil.example"})
        made_up = await api.client.get("/api/v1/tasks", headers={**forwarded, "Host": "evil.example"})

    assert untrusted.headers["location"].startswith("http://127.0.0.1:")
    assert trusted.headers["location"] == "https://voice.example/api/v1/tasks"
    assert (unknown.status_code, made_up.status_code) == (421, 421)


def test_the_bound_name_is_answered() -> None:
    hosts = AllowedHosts(read_settings(host="studio.lan"))

    assert "studio.lan:9880" in hosts
    assert "other.lan" not in hosts


@pytest.mark.parametrize(("host", "name"), [("[::1]:1", "::1"), ("A.b.:80", "a.b"), ("", None), ("a b", None)])
def test_the_name_is_read_without_port_and_case(host: str, name: str | None) -> None:
    assert host_name(host) == name


async def test_a_misdirected_request_is_answered_in_the_format_of_its_api(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/models", headers={"Host": "evil.example"})

    assert response.status_code == 421
    assert response.json()["error"]["code"] == "unknown_host"
