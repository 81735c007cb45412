"""Liveness, readiness, metrics and the description of the server."""

from __future__ import annotations

import httpx
from api_support import ToneWorkers, running, upload

from core.settings import Settings


async def test_it_is_alive_and_reports_what_is_missing(client: httpx.AsyncClient) -> None:
    alive = await client.get("/healthz")
    ready = await client.get("/readyz")
    health = await client.get("/api/v1/health")

    assert (alive.status_code, ready.status_code, health.status_code) == (200, 503, 503)
    assert ready.json()["checks"]["queue"] == ready.json()["checks"]["records"] == "ok"
    assert ready.json()["checks"]["synthesizer"].startswith("not_ready")


async def test_it_is_ready_with_a_synthesizer(client: httpx.AsyncClient, tone_workers: ToneWorkers) -> None:
    response = await client.get("/readyz")

    assert response.status_code == 200
    assert response.json()["status"] == "ready"
    assert set(response.json()["queues"]) >= {"splitter", "synthesizer", "processing", "delayed", "dead"}
    assert set(response.json()["queues"].values()) == {0}
    assert response.json()["workers"]["synthesizer"] == 1


async def test_without_redis_it_lives_and_is_not_ready(settings: Settings) -> None:
    async with running(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})) as api:
        alive = await api.client.get("/healthz")
        ready = await api.client.get("/readyz")
        metrics = await api.client.get("/metrics")
        recording = await upload(api.client)
        task = await api.client.post("/api/v1/tasks", json={"exp_name": "a", "audio_file_id": recording["id"]})
        keyed = await api.client.post(
            "/api/v1/files", files={"file": ("a.wav", b"sound")}, headers={"Idempotency-Key": "k"}
        )
        left = (await api.client.get("/api/v1/tasks")).json()["total"]

    assert (alive.status_code, ready.status_code) == (200, 503)
    assert "Redis" in ready.json()["checks"]["queue"]
    assert "sovits_queue_up 0.0" in metrics.text
    assert (keyed.status_code, keyed.json()["error"]["code"]) == (503, "queue_unavailable")
    assert int(task.headers["retry-after"]) == int(keyed.headers["retry-after"]) > 0
    assert (task.status_code, task.json()["error"]["code"], left) == (503, "queue_unavailable", 0)


async def test_metrics_count_requests_by_route(client: httpx.AsyncClient, tone_workers: ToneWorkers) -> None:
    for number in range(3):
        await client.get(f"/api/v1/tasks/task-{number}")
    await client.get("/nowhere")

    text = (await client.get("/metrics")).text

    assert 'sovits_http_requests_total{method="GET",route="/api/v1/tasks/{task_id}",status="404"} 3.0' in text
    assert "task-1" not in text
    assert 'sovits_workers{role="synthesizer"} 1.0' in text
    assert 'sovits_jobs{queue="dead"} 0.0' in text


async def test_it_reports_what_it_can_do(client: httpx.AsyncClient) -> None:
    view = (await client.get("/api/v1/info")).json()

    assert view["name"] == "sovitsd"
    assert "nano" in view["versions"]
    assert view["languages"][:7] == ["auto", "auto_yue", "zh", "en", "ja", "ko", "yue"]
    assert view["languages"][7:] == ["all_zh", "all_ja", "all_ko", "all_yue"]
    assert view["limits"]["max_text_characters"] == 100_000
