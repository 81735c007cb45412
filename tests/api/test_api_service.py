"""What people, balancers and Prometheus ask about the service; voices; jobs; the shape of every refusal."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import orjson
import pytest
from api_stage import Api, Hummers, eventually, make_voice, running, upload
from fastapi import FastAPI

from api.app import create_app
from api.http.docs_page import draw
from api.services import sweeper
from core.jobs.queue import AsyncQueue, Queue
from core.records import Records, VoiceRecord
from core.redis import connect
from core.settings import Settings
from core.storage import Storage


async def test_it_is_alive_and_tells_what_is_missing(client: httpx.AsyncClient) -> None:
    alive = await client.get("/healthz")
    ready = await client.get("/readyz")
    health = await client.get("/api/v1/health")

    assert (alive.status_code, ready.status_code, health.status_code) == (200, 503, 200)
    assert ready.json()["checks"]["queue"] == ready.json()["checks"]["records"] == "ok"
    assert ready.json()["checks"]["synthesizer"].startswith("not_ready")


async def test_it_is_ready_with_a_synthesizer(client: httpx.AsyncClient, hummers: Hummers) -> None:
    answer = await client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json()["status"] == "ready"
    assert set(answer.json()["queues"]) >= {"splitter", "synthesizer", "processing", "delayed", "dead"}
    assert set(answer.json()["queues"].values()) == {0}
    assert answer.json()["workers"]["synthesizer"] == 1


async def test_without_redis_it_lives_and_is_not_ready(settings: Settings) -> None:
    async with running(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})) as api:
        alive = await api.client.get("/healthz")
        ready = await api.client.get("/readyz")
        metrics = await api.client.get("/metrics")
        recording = await upload(api.client)
        task = await api.client.post("/api/v1/tasks", json={"exp_name": "a", "audio_file_id": recording["id"]})
        left = (await api.client.get("/api/v1/tasks")).json()["total"]

    assert (alive.status_code, ready.status_code) == (200, 503)
    assert "Redis" in ready.json()["checks"]["queue"]
    assert "sovits_queue_up 0.0" in metrics.text
    assert (task.status_code, task.json()["error"]["code"], left) == (503, "queue_unavailable", 0)


async def test_metrics_count_requests_by_route(client: httpx.AsyncClient, hummers: Hummers) -> None:
    for number in range(3):
        await client.get(f"/api/v1/tasks/task-{number}")
    await client.get("/nowhere")

    text = (await client.get("/metrics")).text

    assert 'sovits_http_requests_total{method="GET",route="/api/v1/tasks/{task_id}",status="404"} 3.0' in text
    assert "task-1" not in text
    assert 'sovits_workers{role="synthesizer"} 1.0' in text
    assert 'sovits_jobs{queue="dead"} 0.0' in text


async def test_it_tells_what_it_can_do(client: httpx.AsyncClient) -> None:
    shown = (await client.get("/api/v1/info")).json()

    assert shown["name"] == "sovitsd"
    assert "nano" in shown["versions"]
    assert shown["languages"][:7] == ["auto", "auto_yue", "zh", "en", "ja", "ko", "yue"]
    assert shown["languages"][7:] == ["all_zh", "all_ja", "all_ko", "all_yue"]
    assert shown["limits"]["max_text_characters"] == 100_000


async def test_the_reference_names_every_route_and_needs_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = (await client.get("/docs")).text
    schema = (await client.get("/openapi.json")).json()

    assert all(path in page for path in schema["paths"])
    assert "options.quality" in page
    assert not re.search(r"""<(script|link|img|iframe|base)\b|(src|href)=["']?(\w+:|//)|url\(|@import""", page)
    assert draw(schema) == page


async def test_voices_are_listed_found_by_id_and_by_exact_name(
    client: httpx.AsyncClient, voice: VoiceRecord, records: Records
) -> None:
    await make_voice(records, "Bob")

    names = [one["name"] for one in (await client.get("/api/v1/voices")).json()["items"]]
    by_id = (await client.get(f"/api/v1/voices/{voice.id}")).json()
    by_name = (await client.get("/api/v1/voices/Allison")).json()
    unknown = await client.get("/api/v1/voices/allison")

    assert names == ["Bob", "Allison"]
    assert by_id == by_name
    assert by_id["prompts"] == [{"name": "default", "text": "Hello.", "language": "en"}]
    assert unknown.status_code == 404
    assert "Allison" in unknown.json()["error"]["hint"]


async def test_a_voice_keeps_a_dictionary_of_pronunciations(api: Api, voice: VoiceRecord) -> None:
    path = "/api/v1/voices/Allison"

    taught = await api.client.patch(path, json={"pronunciations": {"GIF": "JH IH1 F"}})
    renamed = await api.client.patch(path, json={"name": "Alice"})
    nothing = await api.client.patch("/api/v1/voices/Alice", json={})
    endless = await api.client.patch("/api/v1/voices/Alice", json={"pronunciations": {"a" * 101: "=b"}})

    assert taught.json()["pronunciations"] == renamed.json()["pronunciations"] == {"GIF": "JH IH1 F"}
    assert (nothing.status_code, endless.status_code) == (400, 400)


async def test_a_voice_is_renamed_and_deleted_with_its_folder(api: Api, voice: VoiceRecord, records: Records) -> None:
    await make_voice(records, "Bob")
    api.services.storage.put_bytes(f"voices/{voice.id}/prompt.wav", b"sound")

    renamed = await api.client.patch("/api/v1/voices/Allison", json={"name": "Alice"})
    taken = await api.client.patch("/api/v1/voices/Alice", json={"name": "Bob"})
    odd = await api.client.patch("/api/v1/voices/Alice", json={"nickname": "Al"})
    deleted = await api.client.delete("/api/v1/voices/Alice")
    again = await api.client.delete("/api/v1/voices/Alice")

    assert (renamed.json()["id"], renamed.json()["name"]) == (voice.id, "Alice")
    assert (taken.status_code, odd.status_code) == (409, 422)
    assert (deleted.status_code, again.status_code) == (204, 404)
    assert not api.services.storage.exists(f"voices/{voice.id}/prompt.wav")


async def test_a_job_is_shown_and_cancelled(client: httpx.AsyncClient, queue: AsyncQueue) -> None:
    job = await queue.enqueue("splitter", {"text": "Hello."})

    shown = (await client.get(f"/api/v1/jobs/{job.id}")).json()
    cancelled = (await client.delete(f"/api/v1/jobs/{job.id}")).json()
    unknown = [await client.get("/api/v1/jobs/job-none"), await client.delete("/api/v1/jobs/job-none")]

    assert (shown["status"], shown["role"], shown["payload"]) == ("waiting", "splitter", {"text": "Hello."})
    assert shown["created_at"].endswith("Z")
    assert cancelled["status"] == "cancelled"
    assert [answer.status_code for answer in unknown] == [404, 404]


async def test_a_dead_letter_is_listed_and_replayed_once(
    client: httpx.AsyncClient, queue: AsyncQueue, settings: Settings
) -> None:
    job = await queue.enqueue("splitter", {"text": "Hello."})
    kill(settings)

    letters = (await client.get("/api/v1/dead-letters")).json()
    replayed = await client.post(f"/api/v1/dead-letters/{job.id}/replay")
    again = await client.post(f"/api/v1/dead-letters/{job.id}/replay")
    unknown = await client.post("/api/v1/dead-letters/job-none/replay")

    assert letters["total"] == 1
    assert letters["items"][0]["job_id"] == job.id
    assert letters["items"][0]["error"]["message"] == "No luck."
    assert (replayed.status_code, replayed.json()["status"]) == (200, "waiting")
    assert (again.status_code, unknown.status_code) == (409, 404)


def kill(settings: Settings) -> None:
    """Fail the next splitter job for good."""
    with connect(settings.redis_url) as redis:
        queue = Queue.from_settings(redis, settings)
        lease = queue.claim("splitter", "splitter-test-1-killer")
        assert lease is not None
        queue.fail(lease, {"code": "internal_error", "message": "No luck.", "hint": ""}, permanent=True)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nowhere", 404, "not_found"),
        ("PUT", "/api/v1/tasks", 405, "not_allowed"),
        ("GET", "/api/v1/tasks?limit=0", 422, "invalid_request"),
        ("GET", "/api/v1/tasks?limit=501", 422, "invalid_request"),
        ("GET", "/api/v1/tasks?offset=-1", 422, "invalid_request"),
    ],
)
async def test_every_refusal_has_one_shape(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await client.request(method, path)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert error["message"]
    assert set(error) <= {"code", "message", "hint", "job_id", "details"}


@pytest.mark.parametrize("path", ["/api/v1/tasks", "/v1/audio/speech", "/synthesize", "/api/v1/nowhere"])
async def test_an_endless_body_is_not_read_into_memory(client: httpx.AsyncClient, path: str) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 12 << 20:
            sent += 1 << 16
            yield b" " * (1 << 16)

    chunked = await client.post(path, content=endless(), headers={"Content-Type": "application/json"})
    announced = await client.post(path, content=bytes(5 << 20), headers={"Content-Type": "application/json"})

    assert chunked.status_code == announced.status_code
    assert chunked.status_code in (400, 404, 413)
    assert path == "/api/v1/nowhere" or "4 MiB" in announced.json()["error"]["message"]


async def test_what_nobody_foresaw_is_a_plain_500(settings: Settings) -> None:
    app = create_app(settings)
    add_faulty_route(app)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/faulty")

    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert "secret" not in answer.text


def add_faulty_route(app: FastAPI) -> None:
    @app.get("/faulty")
    async def faulty() -> None:
        raise RuntimeError("secret")


async def test_the_address_is_announced_while_it_listens(settings: Settings) -> None:
    announcement = settings.data_path / "run" / "api.json"

    async with running(settings) as api:
        told = orjson.loads(announcement.read_bytes())
        mode = announcement.parent

    assert told == {"url": api.url, "pid": os.getpid()}
    assert list(mode.iterdir()) == []


async def test_watchers_do_not_hold_up_the_end(settings: Settings) -> None:
    async with running(settings) as api:
        recording = await upload(api.client)
        body = {"exp_name": "a", "audio_file_id": recording["id"]}
        task = (await api.client.post("/api/v1/tasks", json=body)).json()
        watching = api.client.stream("GET", f"/api/v1/tasks/{task['id']}/progress")
        answer = await watching.__aenter__()
        lines = answer.aiter_lines()
        await anext(lines)
        gauge = api.services.metrics.watchers
        await eventually(lambda: gauge.collect()[0].samples[0].value == 1)
        api.services.watchers.stopping.set()
        rest = [line async for line in lines if line]

    assert rest == []


def test_old_speech_is_swept_and_new_speech_stays(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    for key in ("speech/old/0.wav", "speech/new/0.wav", "audio/old.wav", "audio/new.wav", "files/old"):
        storage.put_bytes(key, b"sound")
    for key in ("speech/old", "audio/old.wav", "files/old"):
        os.utime(storage.path(key), (0, 0))
    now = storage.path("audio/new.wav").stat().st_mtime

    count = sweeper.sweep(storage, keep_seconds=100, now=now)

    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert count == 2
    assert left == ["audio/new.wav", "files/old", "speech/new/0.wav"]
