"""The response to a request is lost without a reset, and it is sent again: for every route that takes a key."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from access_world import World, create_keys, create_world, headers
from api_support import Api, ToneWorkers, eventually, tone
from sqlalchemy import func, select
from voice_support import make_model

from api.app import create_app
from api.http.access import DeclaredRoute, declared_routes
from api.http.wrong_keys import MAX_DIFFERENT
from benchmarks.chaos.fault_proxy import FaultProxy
from core.records import DatasetContents, RecordingRecord, SegmentRecord, VoiceRecord
from core.records.tables import metadata
from core.settings import read_settings

APPLICATION = create_app(read_settings())
ROUTES = {route.path: route for route in declared_routes(APPLICATION) if "POST" in route.methods}
DOCUMENTED = {
    path
    for path, methods in APPLICATION.openapi()["paths"].items()
    if any(item["name"] == "Idempotency-Key" for item in methods.get("post", {}).get("parameters", []))
}
STREAMED = {"/v1/audio/speech", "/tts", "/tts_to_audio/", "/", "/control", "/change_refer", "/set_model"}
"""Routes of live speech, of which nothing stays: their responses are audio, or say what the session has chosen."""
ONLY_CHANGES = {
    "/api/v1/consents/{consent_id}/withdraw",
    "/api/v1/task/{task_id}/cancel",
    "/api/v1/models/{model_id}/promote",
    "/api/v1/resources/config",
    "/api/v1/stream-tokens",
    "/api/v1/webhooks/deliveries/{delivery_id}/redeliver",
    "/api/v2/training/{training_id}/stop",
    "/api/v2/resources/config",
    "/api/v2/tasks/{task_id}/cancel",
    "/v1/audio/voice_consents/{consent_id}",
}
"""Routes that need not make a record, a job or a file."""
UNTRIED = {"/api/v1/detect", "/synthesize", "/v1/audio/voice_consents", "/v1/audio/voices"}
"""Routes whose response comes from a worker; all but the first have tests of their own."""
MORE_BODIES: Mapping[str, dict[str, Any]] = {
    "/api/v1/stream-tokens": {"json": {"scope": "read"}},
    "/api/v1/consents": {"json": {"speaker": "Ann", "statement": "I agree."}},
    "/api/v1/task/create": {"json": {"task_name": "new"}},
    "/api/v1/webhooks": {"json": {"url": "https://8.8.8.8/new"}},
    "/api/v1/files": {"files": {"file": ("a.wav", tone(2.0))}},
    "/api/v1/voices/import": {
        "files": {name: (name, b"content") for name in ("gpt", "sovits", "prompt")},
        "data": {"name": "imported", "text": "Hello.", "language": "en"},
    },
    "/api/v1/task/{task_id}/files/upload": {"files": {"file": ("b.wav", tone(2.0))}},
}
BEFORE_TRAINING = ("convert", "audio_slice", "asr", "text_feature", "hubert_feature", "semantic_token")
CONTENTS = DatasetContents(
    [RecordingRecord(1, "a.wav", None, "r1", 2.0, 16_000, "datasets/x/sounds/a.wav")],
    [SegmentRecord(1, 1, "a.wav", 0.0, 2.0, "datasets/x/sounds/a.wav", "s1", "Hello.", "en")],
)
_numbers = itertools.count()


@dataclass(frozen=True)
class Stock:
    """How much of everything there is."""

    rows: dict[str, int]
    jobs: int
    files: int


async def take_stock(api: Api) -> Stock:
    async with api.services.records.database.read() as connection:
        rows = {
            table.name: (await connection.execute(select(func.count()).select_from(table))).scalar_one()
            for table in metadata.sorted_tables
        }
    counters = await api.services.queue.counters()
    files = [path for path in api.settings.storage_root.rglob("*") if path.is_file() and ".tmp" not in path.parts]
    return Stock(rows, counters.get("submitted", 0) + counters.get("replayed", 0), len(files))


@pytest.fixture
async def proxy(api: Api) -> AsyncIterator[FaultProxy]:
    with FaultProxy.to(api.url) as proxy:
        yield proxy


async def lose_response(api: Api, proxy: FaultProxy, path: str, content: dict[str, Any]) -> None:
    """Send a request whose response never comes, until its client gives up."""
    before = proxy.lost
    proxy.lose_reply_to(content["headers"]["Idempotency-Key"].encode(), reset=False)
    async with httpx.AsyncClient(base_url=proxy.through(api.url), timeout=60) as client:
        sending = asyncio.create_task(client.post(path, **content))
        await eventually(lambda: proxy.lost > before or sending.done(), 30)
        assert not sending.done(), sending.result().text
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending


async def pause_training(api: Api, exp_id: str) -> None:
    """Run an experiment up to a training that is paused, as its workers report it."""
    runs, stages = api.services.experiments.runs, api.services.experiments.stages
    for stage in (*BEFORE_TRAINING, "gpt_train"):
        number = (await stages.run(exp_id, stage)).run
        await runs.start(exp_id, stage, number)
        if stage in BEFORE_TRAINING:
            await runs.complete(exp_id, stage, number, {})
    await runs.pause(exp_id, "gpt_train", number)


async def new_request(api: Api, route: DeclaredRoute, admin: str) -> tuple[str, dict[str, Any]]:
    """Return path and content of a request with a key of its own, which the route accepts."""
    for key in await api.services.redis.keys(f"{api.settings.redis_prefix}request:*"):
        await api.services.redis.delete(key)
    world = World(api, await create_world(api))
    await api.services.records.dataset_versions.finish(world.ids["dataset_id"], 1, CONTENTS, [], "Made.")
    content = MORE_BODIES.get(route.path) or {"json": world.body(route, "POST")}
    content = {**content, "headers": {**headers(admin), "Idempotency-Key": f"key-{next(_numbers)}"}}
    if route.path == "/api/v1/voices":
        services = api.services
        for kind in ("gpt", "sovits"):
            model = await make_model(services.records, services.storage, kind)
            content["json"][f"{kind}_checkpoint_id"] = model.id
    elif route.path.endswith("/control"):
        await pause_training(api, world.ids["exp_id"])
        content["json"] = {"action": "resume"}
    elif "{stage}" in route.path or "{step}" in route.path:
        world.ids |= {"stage": "convert", "step": "audio_slice", "step_task_id": world.ids["exp_id"]}
    return world.path(route), content


async def send_again_and_again(api: Api, proxy: FaultProxy, route: DeclaredRoute, admin: str) -> str:
    """Return what is wrong with the responses to a request that is sent four times; nothing if all is well."""
    path, content = await new_request(api, route, admin)
    before = await take_stock(api)

    await lose_response(api, proxy, path, content)
    stock = await take_stock(api)
    again, once_more = [await api.client.post(path, **content) for _ in range(2)]

    if not again.is_success or "idempotent-replayed" not in again.headers:
        return f"{again.status_code} {dict(again.headers)} {again.text}"
    if again.text != once_more.text:
        return f"{again.text} and {once_more.text}"
    if stock == before and route.path not in ONLY_CHANGES:
        return f"made nothing: {again.text}"
    if (left := await take_stock(api)) != stock:
        return f"{stock} became {left}"
    return "" if route.path in ONLY_CHANGES else await send_after_a_crash(api, path, content, again)


async def send_after_a_crash(api: Api, path: str, content: dict[str, Any], before: httpx.Response) -> str:
    """Return what is wrong with the response when the process died that handled the request, and had not remembered."""
    stock = await take_stock(api)
    # What such a process leaves: a claim that has expired. All that was created is there.
    [key] = await api.services.redis.keys(f"{api.settings.redis_prefix}request:*")
    await api.services.redis.hset(key, mapping={"state": "running", "until": "0", "nonce": "of the dead"})
    await api.services.redis.hdel(key, "answer")

    again = await api.client.post(path, **content)

    if not again.is_success or "idempotent-replayed" in again.headers:
        return f"after a crash: {again.status_code} {dict(again.headers)} {again.text}"
    if identity(before) != identity(again):
        return f"after a crash: {identity(before)} and {identity(again)}"
    if (left := await take_stock(api)) != stock:
        return f"after a crash: {stock} became {left}"
    return ""


def identity(response: httpx.Response) -> dict[str, Any]:
    """Return the ids in a response, wherever it has them."""
    body = response.json()
    for name in ("data", "stage"):
        if isinstance(body.get(name), dict):
            body = body[name]
    return {name: value for name, value in body.items() if name == "id" or name.endswith("_id") or name == "run"}


def test_every_post_but_those_of_live_speech_takes_a_key() -> None:
    documented_posts = {path for path, methods in APPLICATION.openapi()["paths"].items() if "post" in methods}

    assert documented_posts - DOCUMENTED == STREAMED
    assert documented_posts >= DOCUMENTED > ONLY_CHANGES | UNTRIED


@pytest.mark.slow
async def test_the_response_of_any_route_is_lost_or_its_process_dies_and_its_request_is_sent_again(
    api: Api, proxy: FaultProxy
) -> None:
    tried = sorted(DOCUMENTED - UNTRIED)
    assert len(tried) > 30

    admin = (await create_keys(api.services.records)).admin

    problems = {path: await send_again_and_again(api, proxy, ROUTES[path], admin) for path in tried}

    assert not any(problems.values()), "\n".join(f"{path}: {problem}" for path, problem in problems.items() if problem)


async def test_the_response_of_synthesize_is_lost_and_its_request_is_sent_again(
    api: Api, proxy: FaultProxy, tone_workers: ToneWorkers, voice: VoiceRecord
) -> None:
    content: dict[str, Any] = {"json": {"target": "Hello there.", "voice": voice.name}}
    content["headers"] = {"Idempotency-Key": "key-of-synthesize"}
    await lose_response(api, proxy, "/synthesize", content)
    stock = await take_stock(api)

    again, once_more = [await api.client.post("/synthesize", **content) for _ in range(2)]

    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == once_more.json()
    assert await take_stock(api) == stock
    assert (await api.client.get(again.json()["download_url"])).content[:4] == b"RIFF"
    [key] = await api.services.redis.keys(f"{api.settings.redis_prefix}request:*")
    assert 0 < await api.services.redis.ttl(key) <= api.settings.result_expiry_seconds


FIRST_KEY: dict[str, Any] = {
    "json": {"name": "admin", "scopes": ["admin"]},
    "headers": {"Idempotency-Key": "first-key-of-this-installation"},
}


async def test_the_response_with_the_first_key_is_lost_and_its_request_is_sent_again(
    api: Api, proxy: FaultProxy
) -> None:
    await lose_response(api, proxy, "/api/v1/keys", FIRST_KEY)
    assert (await api.client.get("/api/v1/me")).status_code == 401  # the key exists, and nobody has it

    again, once_more = [await api.client.post("/api/v1/keys", **FIRST_KEY) for _ in range(2)]
    key = {"X-API-Key": again.json()["key"]}

    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert once_more.json() == again.json()
    assert (await api.client.get("/api/v1/keys", headers=key)).json()["total"] == 1
    in_body: dict[str, Any] = {
        "json": {**FIRST_KEY["json"], "idempotency_key": FIRST_KEY["headers"]["Idempotency-Key"]}
    }
    assert (await api.client.post("/api/v1/keys", **in_body)).json() == again.json()


async def test_no_other_request_gets_the_first_key_or_learns_of_it(api: Api) -> None:
    created = await api.client.post("/api/v1/keys", **FIRST_KEY)
    admin = {"X-API-Key": created.json()["key"]}
    headers, body = FIRST_KEY["headers"], FIRST_KEY["json"]
    second = {"json": {"name": "second"}, "headers": {"Idempotency-Key": "second"}}
    await api.client.post("/api/v1/keys", json=second["json"], headers={**second["headers"], **admin})
    others: list[tuple[str, dict[str, Any]]] = [
        ("/api/v1/keys", {"json": {**body, "name": "Admin"}, "headers": headers}),
        ("/api/v1/keys", {"json": {**body, "owner": ""}, "headers": headers}),
        ("/api/v1/keys", {"json": body, "headers": {"Idempotency-Key": "first-key-of-this-installatioN"}}),
        ("/api/v1/keys", {"json": body}),
        ("/api/v1/keys", {"json": body, "headers": {**headers, "X-API-Key": "sk-wrong"}}),
        ("/api/v1/keys?again", {"json": body, "headers": headers}),
        ("/api/v1/keys", second),
        ("/api/v1/webhooks", {"json": body, "headers": headers}),
    ]

    rejected = [await api.client.post(path, **content) for path, content in others]

    assert [response.status_code for response in rejected] == [401] * len(others)
    assert {response.json()["error"]["code"] for response in rejected} == {"unauthorized"}
    assert all(created.json()["key"] not in response.text for response in rejected)
    assert (await api.client.post("/api/v1/keys", **FIRST_KEY)).json() == created.json()


async def test_the_first_key_cannot_be_had_once_its_response_is_no_longer_kept(api: Api) -> None:
    await api.client.post("/api/v1/keys", **FIRST_KEY)
    [key] = await api.services.redis.keys(f"{api.settings.redis_prefix}request:*")
    assert 86_000 < await api.services.redis.ttl(key) <= 86_400
    await api.services.redis.delete(key)

    assert (await api.client.post("/api/v1/keys", **FIRST_KEY)).status_code == 401
    assert await api.services.redis.keys(f"{api.settings.redis_prefix}request:*") == []


async def test_who_guesses_at_the_first_key_has_to_wait(api: Api) -> None:
    await api.client.post("/api/v1/keys", **FIRST_KEY)
    guesses = [
        await api.client.post("/api/v1/keys", json=FIRST_KEY["json"], headers={"Idempotency-Key": f"guess-{number}"})
        for number in range(MAX_DIFFERENT + 1)
    ]
    in_time = await api.client.post("/api/v1/keys", **FIRST_KEY)

    assert [guess.status_code for guess in guesses] == [401] * MAX_DIFFERENT + [429]
    assert guesses[-1].json()["error"]["code"] == "too_many_wrong_keys"
    assert in_time.status_code == 429
