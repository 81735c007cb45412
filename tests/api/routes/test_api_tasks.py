"""Tasks: begun once, read, listed, cancelled; and watched by many."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import orjson
import pytest
from api_support import Api, eventually

from core.jobs.queue import AsyncQueue
from core.records import NewFileRecord, Records, TaskStatus


@pytest.fixture
async def recording(records: Records) -> str:
    """Return the id of a file that nobody will open."""
    file = await records.files.create(
        NewFileRecord(id="file-a", filename="a.wav", purpose="training", size_bytes=1, sha256="0" * 64)
    )
    return file.id


async def begin(client: httpx.AsyncClient, recording: str, **more: Any) -> dict[str, Any]:
    body = {"exp_name": "bob", "audio_file_id": recording, "options": {"version": "nano", "language": "en"}, **more}
    response = await client.post("/api/v1/tasks", json=body)
    assert response.status_code == 201, response.text
    view: dict[str, Any] = response.json()
    return view


async def test_a_task_begins_with_its_first_stage_in_the_queue(
    client: httpx.AsyncClient, recording: str, queue: AsyncQueue
) -> None:
    task = await begin(client, recording)

    job = await queue.job(f"{task['exp_id']}.convert.1")

    assert task["id"].startswith("task-")
    assert (task["status"], task["current_stage"], task["progress"]) == ("queued", None, 0.0)
    assert (task["error_message"], task["voice_id"], task["completed_at"]) == (None, None, None)
    assert (await client.get(f"/api/v1/tasks/{task['id']}")).json() == task
    assert job is not None
    assert job.topic == task["id"]


async def test_the_defaults_are_those_that_were_promised(client: httpx.AsyncClient, recording: str) -> None:
    response = await client.post("/api/v1/tasks", json={"exp_name": "a", "audio_file_id": recording})

    assert response.json()["options"] == {"version": "nano", "language": "zh", "quality": "standard"}
    assert response.json()["priority"] == 5


@pytest.mark.parametrize("as_header", [False, True])
async def test_the_same_idempotency_key_answers_with_the_same_task(
    client: httpx.AsyncClient, recording: str, as_header: bool
) -> None:
    body: dict[str, Any] = {"exp_name": "a", "audio_file_id": recording}
    headers = {"Idempotency-Key": "k1"} if as_header else {}
    if not as_header:
        body["idempotency_key"] = "k1"

    responses = await asyncio.gather(*(client.post("/api/v1/tasks", json=body, headers=headers) for _ in range(5)))

    assert len({response.json()["id"] for response in responses}) == 1
    assert (await client.get("/api/v1/tasks")).json()["total"] == 1


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"exp_name": ""}, 422, "exp_name"),
        ({"exp_name": "x" * 101}, 422, "exp_name"),
        ({"exp_name": None}, 422, "exp_name"),
        ({"colour": "red"}, 422, "'colour'"),
        ({"webhook_url": "ftp://x"}, 400, "'ftp://x' is refused"),
        ({"webhook_url": "http://10.0.0.1/"}, 400, "not a public address"),
        ({"options": {"device": "tpu"}}, 422, "device is 'tpu'"),
        ({"options": {"speed": 2}}, 422, "'options.speed'"),
        ({"options": {"quality": "best"}}, 422, "'fast', 'standard' or 'high'"),
        ({"options": {"version": "v9"}}, 422, "options.version"),
        ({"options": {"language": "klingon"}}, 422, "klingon"),
        ({"priority": 11}, 422, "priority"),
        ({"audio_file_id": "file-none"}, 404, "file-none"),
        ({"schedule_at": "2001-01-01T00:00:00Z"}, 400, "has passed"),
    ],
)
async def test_what_cannot_be_is_rejected_by_name(
    client: httpx.AsyncClient, recording: str, change: dict[str, Any], status: int, message: str
) -> None:
    response = await client.post("/api/v1/tasks", json={"exp_name": "a", "audio_file_id": recording, **change})

    assert response.status_code == status
    assert message in response.json()["error"]["message"]
    assert (await client.get("/api/v1/tasks")).json()["total"] == 0


async def test_a_body_that_is_no_json_is_rejected(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/v1/tasks", content=b"{half", headers={"Content-Type": "application/json"})

    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_request"


async def test_a_task_for_later_waits(client: httpx.AsyncClient, recording: str, queue: AsyncQueue) -> None:
    task = await begin(client, recording, schedule_at="2999-01-01T00:00:00")

    assert task["schedule_at"] == "2999-01-01T00:00:00.000Z"
    assert (await queue.depths())["delayed"] == 1


async def test_tasks_are_listed_by_status_newest_first(client: httpx.AsyncClient, recording: str) -> None:
    first, second = [await begin(client, recording) for _ in range(2)]
    await client.delete(f"/api/v1/tasks/{first['id']}")

    everything = (await client.get("/api/v1/tasks")).json()
    queued = (await client.get("/api/v1/tasks", params={"status": "queued"})).json()
    nonsense = await client.get("/api/v1/tasks", params={"status": "resting"})

    assert [task["id"] for task in everything["items"]] == [second["id"], first["id"]]
    assert [task["id"] for task in queued["items"]] == [second["id"]]
    assert (queued["total"], queued["limit"], queued["offset"]) == (1, 50, 0)
    assert nonsense.status_code == 422


async def test_a_cancelled_task_stays_cancelled(client: httpx.AsyncClient, recording: str, queue: AsyncQueue) -> None:
    task = await begin(client, recording)
    path = f"/api/v1/tasks/{task['id']}"

    first = await client.delete(path)
    again = await client.delete(path)
    unknown = await client.delete("/api/v1/tasks/task-none")

    assert (first.json()["success"], first.json()["message"]) == (True, "任务已取消")
    assert (await client.get(path)).json()["status"] == "cancelled"
    assert (await queue.depths())["preprocessor"] == 0
    for response in (again, unknown):
        assert (response.status_code, response.json()["detail"]) == (404, "Task not found or cannot be cancelled")


async def test_a_paused_task_counts_as_running(client: httpx.AsyncClient, recording: str, records: Records) -> None:
    task = await begin(client, recording)
    async with records.experiments.transaction(task["exp_id"]) as transaction:
        transaction.set_task(status=TaskStatus.PAUSED, started_at=1.0)

    view = (await client.get(f"/api/v1/tasks/{task['id']}")).json()
    running = (await client.get("/api/v1/tasks", params={"status": "running"})).json()

    assert (view["status"], view["state"]) == ("running", "paused")
    assert [item["id"] for item in running["items"]] == [item["id"] for item in running["tasks"]] == [task["id"]]


async def listen(
    client: httpx.AsyncClient, task_id: str, last_event_id: str = "", received: list[Any] | None = None
) -> list[tuple[str, str, dict[str, Any]]]:
    """Every (id, kind, data) until the stream ends."""
    events = [] if received is None else received
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    async with client.stream("GET", f"/api/v1/tasks/{task_id}/progress", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, str] = {}
        async for line in response.aiter_lines():
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "event" in fields:
                events.append((fields["id"], fields["event"], orjson.loads(fields["data"])))
                fields = {}
    return events


async def test_several_watchers_receive_the_same_until_the_end(api: Api, recording: str) -> None:
    task = await begin(api.client, recording)
    received: list[list[Any]] = [[], [], []]
    watchers = [asyncio.create_task(listen(api.client, task["id"], received=events)) for events in received]
    await eventually(lambda: all(received))  # each has read the state from before the step
    step = {"stage": "convert", "progress": 0.5, "overall_progress": 0.1, "message": "Half."}

    await api.services.queue.publish_event(task["id"], "progress", step)
    await api.client.delete(f"/api/v1/tasks/{task['id']}")
    streams = await asyncio.wait_for(asyncio.gather(*watchers), 5)

    assert streams[0] == streams[1] == streams[2]
    assert [kind for _, kind, _ in streams[0]] == ["progress", "progress", "cancelled"]
    assert streams[0][0][2]["message"] == "Waiting for a worker."  # how it was when the watchers came
    assert streams[0][1][2] == step
    assert (streams[0][2][2]["status"], streams[0][2][2]["message"]) == ("cancelled", "任务已取消")


async def test_a_watcher_that_comes_back_receives_only_what_it_missed(api: Api, recording: str) -> None:
    task = await begin(api.client, recording)
    for number in range(4):
        await api.services.queue.publish_event(task["id"], "progress", {"number": number})
    await api.client.delete(f"/api/v1/tasks/{task['id']}")
    everything = await listen(api.client, task["id"])

    rest = await listen(api.client, task["id"], last_event_id=everything[1][0])
    junk = await listen(api.client, task["id"], last_event_id="'; drop table")

    assert [data.get("number") for _, _, data in everything] == [0, 1, 2, 3, None]
    assert rest == everything[2:]
    assert junk == everything


async def test_a_finished_task_reports_its_end_although_nobody_remembers(api: Api, recording: str) -> None:
    task = await begin(api.client, recording)
    await api.client.delete(f"/api/v1/tasks/{task['id']}")
    await api.services.redis.delete(f"{api.settings.redis_prefix}events:{task['id']}")

    received = await listen(api.client, task["id"])

    assert [kind for _, kind, _ in received] == ["cancelled"]
    assert received[0][2]["task_id"] == task["id"]


async def test_an_unknown_task_cannot_be_watched(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/v1/tasks/task-none/progress")

    assert response.status_code == 404


async def test_the_log_of_a_task_is_read(api: Api, recording: str) -> None:
    task = await begin(api.client, recording)
    await api.services.queue.publish_event(task["id"], "progress", {"number": 1})
    await api.services.queue.publish_event(task["id"], "log", {"level": "INFO", "message": "Seen."})

    view = (await api.client.get(f"/api/v1/tasks/{task['id']}/logs")).json()

    assert [line["message"] for line in view["items"]] == ["Seen."]


async def test_a_task_names_the_consent_that_its_voice_gets_and_one_that_does_not_count_is_rejected(
    client: httpx.AsyncClient, recording: str, records: Records
) -> None:
    statement = {"speaker": "Anna", "statement": "I agree."}
    consent = (await client.post("/api/v1/consents", json=statement)).json()
    task = await begin(client, recording, consent_id=consent["id"])
    await client.post(f"/api/v1/consents/{consent['id']}/withdraw")
    body = {"exp_name": "bob", "audio_file_id": recording}

    withdrawn = await client.post("/api/v1/tasks", json=body | {"consent_id": consent["id"]})
    unknown = await client.post("/api/v1/tasks", json=body | {"consent_id": "cons-none"})

    assert (await records.experiments.get(task["exp_id"])).consent_id == consent["id"]
    assert (withdrawn.status_code, withdrawn.json()["error"]["code"]) == (403, "consent_required")
    assert unknown.status_code == 404
