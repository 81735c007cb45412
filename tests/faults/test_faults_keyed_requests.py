"""The response to a request with an idempotency key is lost, and the client sends it again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import orjson
import pytest
from daemon_stage import Daemon, Stage, until

from benchmarks.chaos.fault_proxy import FaultProxy
from core.settings import REPOSITORY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="daemons tie their children with prctl"),
]
RECORDING = REPOSITORY / "prompts" / "allison" / "prompt.wav"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a daemon that accepts everything and runs nothing of it."""
    stage = Stage()
    daemon = Daemon(tmp_path_factory.mktemp("keyed"), stage)
    daemon.start("--roles", "trainer")
    announcement = daemon.folder / "run" / "api.json"
    until(announcement.exists)
    yield str(orjson.loads(announcement.read_bytes())["url"])
    daemon.close()
    stage.close()


def _upload(client: httpx.Client, key: str) -> Any:
    files = {"file": ("recording.wav", RECORDING.read_bytes())}
    return client.post("/api/v1/files", files=files, headers={"Idempotency-Key": key})


def _infer(client: httpx.Client, key: str) -> Any:
    body = {"text": "Hello.", "voice": "allison"}
    return client.post("/api/v1/inference", json=body, headers={"Idempotency-Key": key})


def _batch(client: httpx.Client, key: str) -> Any:
    body = {"items": [{"text": "Hello.", "voice": "allison"}]}
    return client.post("/api/v1/inference/batch", json=body, headers={"Idempotency-Key": key})


def _dub(client: httpx.Client, key: str) -> Any:
    body = {"subtitles": "00:00 --> 00:02\nHello.", "voice": "allison"}
    return client.post("/api/v1/inference/subtitles", json=body, headers={"Idempotency-Key": key})


ROUTES = {
    "file": (_upload, "/api/v1/files"),
    "inference": (_infer, "/api/v1/inference"),
    "batch": (_batch, "/api/v1/inference/batch"),
    "dubbing": (_dub, "/api/v1/inference/subtitles"),
}


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("kind", ROUTES)
def test_the_response_to_a_keyed_request_is_lost_and_it_is_sent_again(api: str, kind: str, reset: bool):
    send, listing = ROUTES[kind]
    key = f"{kind}-{reset}"
    with FaultProxy.to(api) as proxy, httpx.Client(base_url=api, timeout=60) as patient:
        before = patient.get(listing).json()["total"]
        proxy.lose_reply_to(b"dempotency-", reset=reset)
        with ThreadPoolExecutor(1) as sender, httpx.Client(base_url=proxy.through(api), timeout=120) as client:
            sending = sender.submit(send, client, key)
            until(lambda: proxy.lost)
            if not reset:
                assert not sending.done()
                proxy.disconnect(for_good=False)  # the client would wait for ever
            with pytest.raises(httpx.TransportError):
                sending.result(60)

        again, once_more = send(patient, key), send(patient, key)

        assert again.status_code in (200, 201, 202), again.text
        assert again.json()["id"] == once_more.json()["id"]
        assert patient.get(listing).json()["total"] == before + 1
