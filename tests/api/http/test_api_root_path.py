"""Below a path of a reverse proxy: routes, URLs, documents and redirects."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from api_support import Api, ToneWorkers, running

from core.records import VoiceRecord
from core.settings import BadSettings, Settings, read_settings

TRUSTED = {"trusted_proxies": ("127.0.0.1",), "allowed_hosts": ("voice.example",)}
FORWARDED = {"X-Forwarded-Prefix": "/voice", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "voice.example"}


@pytest.fixture(params=["/voice", "/api"])
def prefix(request: pytest.FixtureRequest) -> str:
    """Return a path of a proxy; the second one is also the beginning of our own paths."""
    return str(request.param)


@pytest.fixture
async def below(settings: Settings, prefix: str) -> AsyncIterator[Api]:
    async with running(settings.model_copy(update={"root_path": prefix})) as api:
        yield api


@pytest.fixture
async def behind(settings: Settings) -> AsyncIterator[Api]:
    async with running(settings.model_copy(update=TRUSTED)) as api:
        yield api


async def speech_url(client: httpx.AsyncClient, path: str = "/synthesize", **headers: str) -> str:
    body = {"target": "Hello.", "voice": "Allison"}
    response = await client.post(path, json=body, headers=headers)
    url: str = response.json()["download_url"]
    return url


async def test_routes_are_found_whether_or_not_the_proxy_removes_its_path(below: Api, prefix: str) -> None:
    for path in ("/api/v1/tasks", "/v1/models", "/voices", "/healthz"):
        assert (await below.client.get(path)).status_code == 200, path
    for path in ("/api/v1/tasks", "/api/v1/files"):
        assert (await below.client.get(prefix + path)).status_code == 200, path
    assert (await below.client.get("/voicesome/api/v1/tasks")).status_code == 404


async def test_urls_in_responses_are_below_the_path(
    below: Api, prefix: str, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    url = await speech_url(below.client)
    job = await below.client.post("/api/v1/inference", json={"text": "Hello.", "voice": "Allison"})

    assert url.startswith(f"{below.url}{prefix}/audio/")
    assert (await below.client.get(url)).status_code == 200 or prefix == "/api"
    assert job.status_code in (200, 201, 202)


async def test_the_documents_name_the_path(below: Api, prefix: str) -> None:
    document: dict[str, Any] = (await below.client.get("/openapi.json")).json()
    page = await below.client.get("/docs")

    assert document["servers"] == [{"url": prefix}]
    assert 'href="openapi.json"' in page.text


async def test_redirects_stay_below_the_path(below: Api, prefix: str) -> None:
    response = await below.client.get("/api/v1/tasks/")

    assert response.status_code == 307
    assert response.headers["location"] == f"{below.url}{prefix}/api/v1/tasks"


async def test_a_trusted_proxy_names_path_scheme_and_host(
    behind: Api, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    url = await speech_url(behind.client, **FORWARDED)
    unstripped = await speech_url(behind.client, "/voice/synthesize", **FORWARDED)
    redirect = await behind.client.get("/api/v1/tasks/", headers=FORWARDED)
    document = (await behind.client.get("/openapi.json", headers=FORWARDED)).json()

    assert url.startswith("https://voice.example/voice/audio/")
    assert unstripped.startswith("https://voice.example/voice/audio/")
    assert redirect.headers["location"] == "https://voice.example/voice/api/v1/tasks"
    assert document["servers"] == [{"url": "/voice"}]


async def test_nobody_else_is_believed(api: Api, tone_workers: ToneWorkers, voice: VoiceRecord) -> None:
    url = await speech_url(api.client, **FORWARDED)

    assert url.startswith(f"{api.url}/audio/")
    assert (await api.client.get("/voice/voices", headers=FORWARDED)).status_code == 404


@pytest.mark.parametrize(
    "prefix",
    ["voice", "//evil.example", "/a/../b", "/a?b", "/a b", "/" + "a" * 101, "/%0d%0aX: y", "https://evil.example"],
)
async def test_a_path_that_is_none_is_not_believed(
    behind: Api, tone_workers: ToneWorkers, voice: VoiceRecord, prefix: str
) -> None:
    url = await speech_url(behind.client, **{"X-Forwarded-Prefix": prefix})

    assert url.startswith(f"{behind.url}/audio/")


def test_a_setting_that_is_no_path_stops_the_start() -> None:
    with pytest.raises(BadSettings, match="ROOT_PATH"):
        read_settings(root_path="https://voice.example/")
    assert read_settings(root_path="/voice/").root_path == "/voice"
