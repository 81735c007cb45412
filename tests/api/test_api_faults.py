"""Bad requests to every route alike: each is rejected in one shape, with a sentence, and nothing of it stays."""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import resource
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from api_support import Api, eventually, gauge_value, make_voice, upload

from api.app import create_app
from api.http.body_limit import MAX_BODY_BYTES
from core.settings import Settings, read_settings

UNKNOWN = "nothing-of-this-name"
NUMBERS = ("number", "version", "epoch")
"""Parameters of paths that are no names."""
CLOSED = False
"""What `additionalProperties` says of a body that takes only the fields it names."""


@functools.cache
def openapi() -> dict[str, Any]:
    return create_app(read_settings(data_path=Path("/nowhere"))).openapi()


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in openapi()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


Body = tuple[str, str, dict[str, Any]]
"""Method, path and the schema of the body."""


def with_json_body() -> list[Body]:
    """Every route that takes one; all of them share one application, which takes long to build."""
    result = []
    for method, path, operation in operations():
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json" in content:
            result.append((method, path, content["application/json"]["schema"]))
    assert len(result) > 15
    return result


def with_names_in_path() -> list[tuple[str, str, Any]]:
    """Every route that names a thing, with a body that fits."""
    result = []
    for method, path, operation in operations():
        content = operation.get("requestBody", {}).get("content", {})
        if "{" in path and "multipart/form-data" not in content:
            result.append((method, path, sample(content["application/json"]["schema"]) if content else None))
    assert len(result) > 30
    return result


def fill(path: str) -> str:
    for item in path.split("{")[1:]:
        name = item.partition("}")[0]
        path = path.replace("{" + name + "}", "1" if name in NUMBERS else UNKNOWN)
    return path


def resolve(shape: dict[str, Any]) -> dict[str, Any]:
    """Return the object that a schema means; of several alternatives the first object."""
    if "$ref" in shape:
        return resolve(openapi()["components"]["schemas"][shape["$ref"].rsplit("/", 1)[1]])
    for alternative in shape.get("anyOf", []):
        if resolve(alternative).get("type") == "object":
            return resolve(alternative)
    return shape


def sample(shape: dict[str, Any]) -> Any:
    """Something that fits, field by field, with nothing but what is required."""
    shape = resolve(shape)
    if "enum" in shape:
        return shape["enum"][0]
    kind = shape.get("type") or next((item["type"] for item in shape.get("anyOf", []) if "type" in item), "string")
    if kind == "object":
        return {name: sample(shape["properties"][name]) for name in shape.get("required", [])}
    if kind == "array":
        return [sample(shape.get("items", {}))] * max(1, shape.get("minItems", 0))
    least = shape.get("minimum", shape.get("exclusiveMinimum", 0) + 1)
    return {"integer": least, "number": least, "boolean": True}.get(kind, "x" * max(1, shape.get("minLength", 0)))


def sentence_of(response: httpx.Response) -> str:
    """Return what the answer says, in whatever error format."""
    assert response.headers["content-type"].startswith("application/json"), response.text[:200]
    view = response.json()
    assert isinstance(view, dict)
    if "error" in view:
        assert view["error"]["code"]
        assert view["error"]["message"]
    return json.dumps(view, ensure_ascii=False)


async def test_a_name_of_nothing_is_not_found_anywhere(client: httpx.AsyncClient) -> None:
    for method, path, body in with_names_in_path():
        if path == "/v1/models/{model}":
            continue  # every name is one there
        response = await client.request(method, fill(path), json=body)
        assert response.status_code in (400, 404, 422), f"{method} {path}: {response.text}"
        sentence_of(response)


async def test_a_field_that_does_not_exist_is_named_everywhere(client: httpx.AsyncClient) -> None:
    strict = [item for item in with_json_body() if resolve(item[2]).get("additionalProperties", True) is CLOSED]
    assert len(strict) > 15
    for method, path, schema in strict:
        response = await client.request(method, fill(path), json=sample(schema) | {"surprise": 1})
        assert response.status_code == 422, f"{method} {path}: {response.text}"
        assert "surprise" in sentence_of(response)


async def test_a_body_that_is_no_object_is_rejected_everywhere(client: httpx.AsyncClient) -> None:
    bodies = (b"[1]", b'"text"', b"7", b"null", b"{", b"\xff\xfe", b"")
    for body, (method, path, schema) in itertools.product(bodies, with_json_body()):
        response = await client.request(method, fill(path), content=body, headers={"Content-Type": "application/json"})
        needs_one = bool(resolve(schema).get("required"))
        assert response.status_code < 500, f"{method} {path}: {response.text}"
        assert response.status_code >= 400 or not needs_one, f"{method} {path} took {body!r}"
        if response.status_code >= 400:
            sentence_of(response)


async def test_fields_of_wrong_types_are_rejected_or_taken_but_never_a_surprise(client: httpx.AsyncClient) -> None:
    values: tuple[Any, ...] = ({"deep": [1]}, [[]], 1e308, -1, "", "\x00", "ß" * 5000, True, None)
    for value, (method, path, schema) in itertools.product(values, with_json_body()):
        properties = resolve(schema).get("properties", {})
        response = await client.request(method, fill(path), json=dict.fromkeys(properties, value))
        assert response.status_code < 500 or response.status_code in (503, 504), f"{method} {path}: {response.text}"


async def test_a_body_that_is_too_large_is_rejected_everywhere(client: httpx.AsyncClient) -> None:
    body = b'{"a": "' + b"x" * MAX_BODY_BYTES + b'"}'
    for method, path, _ in with_json_body():
        response = await client.request(method, fill(path), content=body, headers={"Content-Type": "application/json"})
        assert response.status_code in (400, 413), f"{method} {path}: {response.text[:300]}"
        assert "larger than 4 MiB" in sentence_of(response)


async def test_an_id_of_another_kind_is_not_found(client: httpx.AsyncClient, settings: Settings, records: Any) -> None:
    file_id = (await upload(client))["id"]
    voice = await make_voice(records, "Allison")
    task = (await client.post("/api/v1/tasks", json={"exp_name": "bob", "audio_file_id": file_id})).json()
    ids = {"file": file_id, "task": task["id"], "experiment": task["exp_id"], "voice": voice.id}
    paths = {
        "file": "/api/v1/files/{}/metadata",
        "task": "/api/v1/tasks/{}",
        "experiment": "/api/v1/experiments/{}",
        "voice": "/api/v1/voices/{}",
    }

    for kind, path in paths.items():
        for other, id_ in ids.items():
            response = await client.get(path.format(id_))
            assert response.status_code == (200 if kind == other else 404), f"{other} at {path}: {response.text}"


@pytest.mark.parametrize("kind", ["voice", "task", "nothing"])
async def test_a_task_is_not_made_of_what_is_no_file(client: httpx.AsyncClient, records: Any, kind: str) -> None:
    voice = await make_voice(records, "Allison")
    file_id = (await upload(client))["id"]
    other = (await client.post("/api/v1/tasks", json={"exp_name": "bob", "audio_file_id": file_id})).json()["id"]
    wrong = {"voice": voice.id, "task": other, "nothing": UNKNOWN}[kind]

    for path in ("/api/v1/tasks", "/api/v1/experiments"):
        response = await client.post(path, json={"exp_name": "eve", "audio_file_id": wrong})
        assert response.status_code == 404, response.text
        assert wrong in response.json()["error"]["message"]
    assert (await client.get("/api/v1/tasks")).json()["total"] == 1
    assert (await client.get("/api/v1/experiments", params={"status": "created"})).json()["total"] == 0


def lists_of_pages() -> Iterator[tuple[str, list[str]]]:
    """Yield every list that has pages, with queries that ask for none that can be."""
    for method, path, operation in operations():
        parameters = {parameter["name"]: parameter["schema"] for parameter in operation.get("parameters", [])}
        if method == "GET" and "{" not in path and "limit" in parameters:
            queries = ["limit=0", f"limit={parameters['limit']['maximum'] + 1}", "limit=x", "limit=1e3"]
            queries += ["offset=-1", f"offset={2**70}"] * ("offset" in parameters)
            yield path, queries


async def test_pages_that_cannot_be_are_rejected_everywhere(client: httpx.AsyncClient) -> None:
    lists = dict(lists_of_pages())
    assert len(lists) > 6
    for path, queries in lists.items():
        for query in queries:
            response = await client.get(f"{path}?{query}")
            assert response.status_code in (400, 422), f"{path}?{query}: {response.text}"
            sentence_of(response)


async def test_an_unknown_path_and_a_wrong_method_are_answered_in_the_same_shape(client: httpx.AsyncClient) -> None:
    for method, path, status in (("GET", "/api/v1/nothing", 404), ("PUT", "/api/v1/tasks", 405)):
        response = await client.request(method, path)
        assert response.status_code == status
        assert response.json()["error"]["hint"]


async def test_a_watcher_that_vanishes_is_not_watched_for_any_more(api: Api) -> None:
    file_id = (await upload(api.client))["id"]
    task = (await api.client.post("/api/v1/tasks", json={"exp_name": "bob", "audio_file_id": file_id})).json()

    async with (
        httpx.AsyncClient(base_url=api.url) as leaving,
        leaving.stream("GET", f"/api/v1/tasks/{task['id']}/progress") as response,
        aclosing(cast(AsyncGenerator[bytes], response.aiter_bytes())) as stream,
    ):
        await anext(stream)
        await eventually(lambda: watchers(api) == 1)
        # The present state is sent first; what is published meanwhile is read once the subscription is there.
        await eventually(lambda: somebody_subscribes(api, task["id"]))

    await eventually(lambda: watchers(api) == 0)
    await eventually(lambda: nobody_subscribes(api, task["id"]))


async def test_uploads_that_break_off_on_every_path_leave_nothing(api: Api) -> None:
    created = await api.client.post("/api/v1/task/create", json={"task_name": "bob"})
    paths = ("/api/v1/files", "/api/v1/voices/import", f"/api/v1/task/{created.json()['task_id']}/files/upload")
    for path in paths:
        _, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        writer.write(f"{head}Content-Length: 3000000\r\n\r\n".encode())
        field = "archive" if path.endswith("import") else "file"
        part = f'--b\r\nContent-Disposition: form-data; name="{field}"; filename="a.wav"\r\n\r\n'
        writer.write(part.encode() + bytes(1_500_000))
        await writer.drain()
        await eventually(lambda: temporaries(api))

        writer.close()

        await eventually(lambda: not temporaries(api))
        assert (await api.client.get("/api/v1/files")).json()["total"] == 0


@pytest.mark.slow
async def test_ten_thousand_tasks_made_at_once_are_all_answered_and_all_there(
    client: httpx.AsyncClient, settings: Settings
) -> None:
    file_id = (await upload(client))["id"]
    before = memory_mb()

    responses = await asyncio.gather(
        *(
            client.post("/api/v1/tasks", json={"exp_name": f"voice {number}", "audio_file_id": file_id})
            for number in range(10_000)
        )
    )

    assert {response.status_code for response in responses} == {201}
    assert len({response.json()["id"] for response in responses}) == 10_000
    assert (await client.get("/api/v1/tasks", params={"limit": 1})).json()["total"] == 10_000
    assert (await client.get("/api/v1/health")).json()["queues"]["preprocessor"] == 10_000
    assert memory_mb() - before < 1000


def watchers(api: Api) -> float:
    return gauge_value(api.services.metrics.watchers)


async def somebody_subscribes(api: Api, task_id: str) -> bool:
    return bool(await api.services.redis.pubsub_channels(f"{api.settings.redis_prefix}*{task_id}*"))


async def nobody_subscribes(api: Api, task_id: str) -> bool:
    return not await somebody_subscribes(api, task_id)


def temporaries(api: Api) -> list[Path]:
    folder = api.settings.storage_root / ".tmp"
    return [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []


def memory_mb() -> float:
    """Return the most that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
