"""Who may use which route: every route of the application, for every kind of caller."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest
from access_world import BODIES, Keys, World, create_keys, create_world, route_name
from api_support import Api, running

from api.app import create_app
from api.http.access import DeclaredRoute, declared_routes
from core.access import Scope
from core.jobs.roles import SYNTHESIZER
from core.records import Records
from core.settings import Settings, read_settings

ROUTES = declared_routes(create_app(read_settings()))
PUBLIC_PATHS = {
    "/api/v1/detect",
    "/api/v2/test-page",
    *("/", "/voices", "/audio/{filename}", "/health", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"),
    "/docs/assets/{filename}",
    *("/favicon.ico", "/console", "/console/", "/console/assets/{filename}"),
    *("/v1/audio/voices", "/v1/audio/models", "/control", "/api/v1/detect"),
}
SAME_FOR_EVERYBODY = {
    "POST /api/v1/consents",
    "POST /v1/audio/voice_consents",
    "POST /v1/audio/voices",
    "POST /api/v1/files",
    "POST /api/v1/stream-tokens",
    "POST /api/v1/task/create",
    "POST /api/v1/voices/import",
    "POST /api/v1/webhooks",
    "GET /api/v1/stages/{stage}/schema",
    "GET /v1/models/{model}",
}
"""Routes that create something new, or tell the same to everybody."""


ONLY_BAD_REQUESTS = {
    "POST /synthesize",
    "POST /",
    *(f"{method} {path}" for method in ("GET", "POST") for path in ("/tts", "/change_refer", "/set_model")),
    *("POST /tts_to_audio/", "POST /tts_to_audio"),
    *("GET /set_gpt_weights", "GET /set_sovits_weights", "GET /set_refer_audio"),
}
"""Routes of APIs that have no 404: there, and without the fields they need, a request is bad."""
FILE_MISSING = {
    "GET /api/v1/datasets/{dataset_id}/segments/{number}",
    "GET /api/v1/datasets/{dataset_id}/segments/{number}/audio",
    "PATCH /api/v1/datasets/{dataset_id}/segments/{number}",
    "GET /api/v1/task/{task_id}/files/download/{filename}",
    "GET /api/v1/experiments/{exp_id}/stages/{stage}/artefacts/{name}",
    "GET /audio/{filename}",
    "GET /console/assets/{filename}",
    "GET /docs/assets/{filename}",
}
"""Routes that name something inside of what is Alice's which no worker has made."""


def _table(wrong: Mapping[str, tuple[int, str]]) -> str:
    return "\n".join(f"{name}: {status} {body}" for name, (status, body) in wrong.items())


CALLS = [(route, method) for route in ROUTES for method in sorted(route.methods - {"HEAD"})]


def _is_public(route: DeclaredRoute) -> bool:
    return all(access.public for access in route.access)


def _needs_admin(route: DeclaredRoute, method: str) -> bool:
    writes = method != "GET"
    return any((access.writing if writes else access.reading) == (Scope.ADMIN,) for access in route.access)


@pytest.fixture
async def keyed(settings: Settings, records: Records) -> AsyncIterator[tuple[Api, Keys]]:
    keys = await create_keys(records)
    # Speech that nobody synthesizes ends soon.
    async with running(settings.model_copy(update={"synthesis_timeout_seconds": 0.3})) as api:
        await api.services.queue.register_worker("synthesizer-test-1-idle", SYNTHESIZER, "test", 1)
        yield api, keys


def test_every_route_declares_who_may_use_it() -> None:
    undeclared = {route.path for route in ROUTES if not route.access}
    public = {route.path for route in ROUTES if _is_public(route)}

    assert undeclared == set()
    assert public == PUBLIC_PATHS


@pytest.mark.parametrize("key", ["", "sk-wrong"])
async def test_without_a_valid_key_only_public_routes_answer(keyed: tuple[Api, Keys], key: str) -> None:
    api, _ = keyed
    world = World(api, await create_world(api))

    statuses = {route_name(route, method): (await world.status(route, method, key))[0] for route, method in CALLS}

    open_routes = {route_name(route, method) for route, method in CALLS if _is_public(route)}
    assert {name for name, status in statuses.items() if status != 401} == open_routes


async def test_what_belongs_to_one_owner_does_not_exist_for_another(keyed: tuple[Api, Keys]) -> None:
    api, keys = keyed
    world = World(api, await create_world(api))

    results = {route_name(route, method): await world.status(route, method, keys.other) for route, method in CALLS}

    wrong = {}
    for route, method in CALLS:
        name = route_name(route, method)
        status, body = results[name]
        if _needs_admin(route, method):
            expected = {403}
        elif _is_public(route) or name in SAME_FOR_EVERYBODY:
            expected = {200, 201, 307, 400, 404, 422}
        elif name in ONLY_BAD_REQUESTS:
            expected = {400}
        elif "{" in route.path or name in BODIES:
            expected = {404}
        else:
            expected = {200}
        request = world.path(route) + str(world.body(route, method))
        for id_ in world.ids.values():
            if id_ in request:  # it may be repeated to who sent it
                body = body.replace(id_, "")
        if status not in expected or "alice" in body or any(id_ in body for id_ in world.ids.values()):
            wrong[name] = (status, results[name][1][:300])
    assert not wrong, _table(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("role", ["owner", "admin"])
async def test_owners_and_admins_use_every_route(keyed: tuple[Api, Keys], role: str) -> None:
    api, keys = keyed
    key = keys.owner if role == "owner" else keys.admin
    world = World(api, await create_world(api))
    wrong = {}

    for route, method in CALLS:
        if method != "GET":  # it may end what the next one needs
            world = World(api, await create_world(api))
        name = route_name(route, method)
        status, body = await world.status(route, method, key)
        forbidden = _needs_admin(route, method) and role == "owner"
        missing = name in FILE_MISSING and status == 404
        if (status == 403) is not forbidden or status == 401 or (status == 404 and not missing):
            wrong[name] = (status, body[:300])
    assert not wrong, _table(wrong)
