"""How the API announces its address and ends."""

from __future__ import annotations

import os

import orjson
from api_support import eventually, gauge_value, running, upload

from core.settings import Settings


async def test_the_address_is_announced_while_it_listens(settings: Settings) -> None:
    announcement = settings.data_path / "run" / "api.json"

    async with running(settings) as api:
        announced = orjson.loads(announcement.read_bytes())
        mode = announcement.parent

    assert announced == {"url": api.url, "pid": os.getpid()}
    assert list(mode.iterdir()) == []


async def test_watchers_do_not_hold_up_the_end(settings: Settings) -> None:
    async with running(settings) as api:
        recording = await upload(api.client)
        body = {"exp_name": "a", "audio_file_id": recording["id"]}
        task = (await api.client.post("/api/v1/tasks", json=body)).json()
        watching = api.client.stream("GET", f"/api/v1/tasks/{task['id']}/progress")
        response = await watching.__aenter__()
        lines = response.aiter_lines()
        await anext(lines)
        gauge = api.services.metrics.watchers
        await eventually(lambda: gauge_value(gauge) == 1)
        api.services.sse.stopping.set()
        rest = [line async for line in lines if line]

    assert rest == []
