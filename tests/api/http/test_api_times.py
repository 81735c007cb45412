"""Times are ISO 8601 with a zone, wherever they are shown."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from typing import Any

import orjson
from api_support import Api, upload

from api.app import create_app
from core.settings import read_settings

IS_A_TIME = re.compile(r"(.*_at|at|timestamp|time|.*_until)")
NUMBERS = ("CustomVoiceView", "SpokenConsentView", "MarkTiming")
"""Schemas of OpenAI, whose times are seconds since 1970, and of a place in an audio."""


def test_every_time_in_a_response_is_a_text() -> None:
    schemas: dict[str, Any] = create_app(read_settings()).openapi()["components"]["schemas"]
    times = [
        (f"{name}.{field}", shape)
        for name, schema in schemas.items()
        if name not in NUMBERS
        for field, shape in schema.get("properties", {}).items()
        if IS_A_TIME.fullmatch(field)
    ]

    assert len(times) > 30
    for name, shape in times:
        types = {shape.get("type"), *(choice.get("type") for choice in shape.get("anyOf", ()))} - {None, "null"}
        assert types == {"string"}, name


async def test_log_events_of_a_task_have_it_too(api: Api) -> None:
    file_id = (await upload(api.client))["id"]
    task = (await api.client.post("/api/v1/tasks", json={"exp_name": "bob", "audio_file_id": file_id})).json()
    experiment = await api.services.records.experiments.get(task["exp_id"])
    await api.services.experiments.notifier.log(experiment, "Sliced.", stage="audio_slice")
    await api.client.delete(f"/api/v1/tasks/{task['id']}")

    stream = await asyncio.wait_for(api.client.get(f"/api/v1/tasks/{task['id']}/progress"), 10)
    logs = (await api.client.get(f"/api/v1/tasks/{task['id']}/logs")).json()["items"]

    events = [orjson.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: ")]
    [line] = [event for event in events if event.get("message") == "Sliced."]
    [same] = [entry for entry in logs if entry["message"] == "Sliced."]
    assert line["timestamp"] == same["timestamp"]
    assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None
