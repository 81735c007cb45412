"""Progress by WebSocket: the events of the streams as messages, with tokens, resumption and the check of origins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from api_support import Api, eventually, gauge_value, running, upload
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from core.errors import ErrorData
from core.settings import Settings

KEY = {"X-API-Key": "k1"}


@pytest.fixture
async def keyed(settings: Settings) -> AsyncIterator[Api]:
    async with running(settings.model_copy(update={"valid_api_keys": ("k1",)})) as running_api:
        yield running_api


def socket(api: Api, path: str, **options: Any) -> connect:
    return connect(api.url.replace("http://", "ws://") + path, **options)


async def read_all(connection: ClientConnection) -> list[dict[str, Any]]:
    """Return every message until the server closes the connection."""
    messages = []
    try:
        async with asyncio.timeout(20):
            while True:
                messages.append(orjson.loads(await connection.recv()))
    except ConnectionClosed:
        return messages


async def create_task(api: Api, **headers: str) -> dict[str, Any]:
    api.client.headers.update(headers)
    file_id = (await upload(api.client))["id"]
    body = {"exp_name": "bob", "audio_file_id": file_id, "options": {"version": "nano"}}
    task: dict[str, Any] = (await api.client.post("/api/v1/tasks", json=body)).json()
    return task


async def test_a_task_is_watched_from_its_state_to_its_end(api: Api) -> None:
    task = await create_task(api)
    queue = api.services.queue

    async with socket(api, f"/api/v1/tasks/{task['id']}/ws") as connection:
        reading = asyncio.create_task(read_all(connection))
        await eventually(lambda: gauge_value(api.services.metrics.watchers) > 0)
        await queue.publish_event(task["id"], "progress", {"stage": "asr", "progress": 0.5, "message": "Half."})
        await queue.publish_event(task["id"], "log", {"level": "INFO", "message": "Line.", "timestamp": 1.0})
        await api.client.delete(f"/api/v1/tasks/{task['id']}")
        messages = await reading

    assert connection.close_code == 1000
    assert [message["event"] for message in messages][-3:] == ["progress", "log", "cancelled"]
    assert messages[-3]["data"] == {"stage": "asr", "progress": 0.5, "message": "Half."}
    assert messages[-2]["data"] == {
        "type": "log",
        "level": "INFO",
        "message": "Line.",
        "timestamp": "1970-01-01T00:00:01.000Z",
    }
    assert messages[-1]["data"]["message"] == "任务已取消"
    assert all(message["id"] for message in messages[-3:])


async def test_a_reader_resumes_after_the_event_that_it_saw_last(api: Api) -> None:
    task = await create_task(api)
    for number in range(3):
        await api.services.queue.publish_event(task["id"], "progress", {"stage": "asr", "progress": number / 10})
    await api.client.delete(f"/api/v1/tasks/{task['id']}")
    path = f"/api/v1/tasks/{task['id']}/ws"

    async with socket(api, path) as connection:
        messages = await read_all(connection)
    async with socket(api, f"{path}?last_event_id={messages[1]['id']}") as connection:
        by_query = await read_all(connection)
    async with socket(api, path, additional_headers={"Last-Event-ID": messages[1]["id"]}) as connection:
        by_header = await read_all(connection)

    assert [message["event"] for message in messages] == ["progress", "progress", "progress", "cancelled"]
    assert by_query == by_header == messages[2:]


async def test_the_messages_are_the_events_of_the_stream(api: Api) -> None:
    task = await create_task(api)
    await api.services.experiments.runs.start(task["exp_id"], "convert", 1)
    error: ErrorData = {"code": "bad_audio", "message": "It is no sound.", "hint": "Send another."}
    await api.services.experiments.runs.fail(task["exp_id"], "convert", 1, error)
    stream = (await api.client.get(f"/api/v1/tasks/{task['id']}/progress")).text
    events = [dict(line.split(": ", 1) for line in block.splitlines()) for block in stream.strip().split("\n\n")]

    async with socket(api, f"/api/v1/tasks/{task['id']}/ws") as connection:
        messages = await read_all(connection)

    assert [(message["id"], message["event"], message["data"]) for message in messages] == [
        (event["id"], event["event"], orjson.loads(event["data"])) for event in events
    ]
    assert messages[-1]["data"]["error"] == "It is no sound."


async def test_events_are_in_the_language_of_the_client_and_the_eleven_steps_say_what_is_stored(api: Api) -> None:
    task = await create_task(api)
    chinese = {"Accept-Language": "zh"}
    paths = [f"/api/v1/tasks/{task['id']}/ws", f"/api/v1/experiments/{task['exp_id']}/stages/convert/ws"]

    for path in paths:
        async with socket(api, path, additional_headers=chinese) as connection:
            assert orjson.loads(await connection.recv())["data"]["message"] == "正在等待工作进程。"
    of_steps = (await api.client.get(f"/api/v1/task/{task['exp_id']}", headers=chinese)).json()
    listed = (await api.client.get("/api/v1/tasks", headers=chinese)).json()["items"]

    assert of_steps["message"] == "Waiting for a worker."
    assert [record["message"] for record in listed] == ["正在等待工作进程。"]


async def test_a_stage_and_a_task_of_the_eleven_steps_are_watched(api: Api) -> None:
    task = await create_task(api)
    steps = f"/api/v1/task/{task['exp_id']}/ws"
    stage = f"/api/v1/experiments/{task['exp_id']}/stages/convert/ws"

    async with socket(api, stage) as of_stage, socket(api, steps) as of_steps:
        before = orjson.loads(await of_stage.recv())
        reading = [asyncio.create_task(read_all(connection)) for connection in (of_stage, of_steps)]
        await eventually(lambda: gauge_value(api.services.metrics.watchers) == 2)
        await api.services.experiments.runs.start(task["exp_id"], "convert", 1)
        await api.services.experiments.runs.fail(
            task["exp_id"], "convert", 1, {"code": "bad_audio", "message": "It is no sound."}
        )
        await api.services.queue.cancel(f"{task['exp_id']}.convert.1")
        await api.services.queue.publish_event(task["exp_id"], "log", {"level": "INFO", "message": "The end."})
        messages = await asyncio.gather(*reading)

    assert before["data"]["message"] == "Waiting for a worker."
    for received in messages:
        assert (received[-1]["event"], received[-1]["data"]["error"]) == ("failed", "It is no sound.")


@pytest.mark.parametrize("path", ["tasks/task-none/ws", "experiments/exp-none/stages/asr/ws", "task/exp-none/ws"])
async def test_what_does_not_exist_is_answered_with_404(api: Api, path: str) -> None:
    with pytest.raises(InvalidStatus) as rejected:
        async with socket(api, f"/api/v1/{path}"):
            pass

    assert rejected.value.response.status_code == 404
    assert orjson.loads(rejected.value.response.body or b"")["error"]["code"] == "not_found"


async def test_with_keys_a_token_in_the_url_opens_it(keyed: Api) -> None:
    task = await create_task(keyed, **KEY)
    await keyed.client.delete(f"/api/v1/tasks/{task['id']}")
    token, speaking = [
        (await keyed.client.post("/api/v1/stream-tokens", json=body)).json()["token"]
        for body in ({}, {"scope": "speak"})
    ]
    path = f"/api/v1/tasks/{task['id']}/ws"

    async with socket(keyed, f"{path}?token={token}") as connection:
        messages = await read_all(connection)

    assert [message["event"] for message in messages] == ["cancelled"]
    for query, status in (("", 401), ("?token=st-none", 401), (f"?token={speaking}", 403)):
        with pytest.raises(InvalidStatus) as rejected:
            async with socket(keyed, path + query):
                pass
        assert rejected.value.response.status_code == status


@pytest.mark.parametrize(
    ("origin", "opens"),
    [("http://localhost:5173", True), ("null", True), ("https://evil.example", False)],
)
async def test_pages_of_other_sites_do_not_read_without_a_key(api: Api, origin: str, opens: bool) -> None:
    task = await create_task(api)
    await api.client.delete(f"/api/v1/tasks/{task['id']}")

    async def events() -> list[str]:
        path = f"/api/v1/tasks/{task['id']}/ws"
        async with socket(api, path, additional_headers={"Origin": origin}) as connection:
            return [message["event"] for message in await read_all(connection)]

    if opens:
        assert await events() == ["cancelled"]
    else:
        with pytest.raises(InvalidStatus) as rejected:
            await events()
        assert rejected.value.response.status_code == 403


async def test_a_reader_that_leaves_is_forgotten(api: Api) -> None:
    task = await create_task(api)

    async with socket(api, f"/api/v1/tasks/{task['id']}/ws") as connection:
        await connection.recv()
        assert gauge_value(api.services.metrics.watchers) == 1

    await eventually(lambda: gauge_value(api.services.metrics.watchers) == 0)


async def test_the_end_of_the_server_asks_readers_to_come_back(settings: Settings) -> None:
    async with running(settings) as api:
        task = await create_task(api)
        async with socket(api, f"/api/v1/tasks/{task['id']}/ws") as connection:
            await connection.recv()
            api.services.sse.stopping.set()
            await read_all(connection)

    assert connection.close_code == 1012
