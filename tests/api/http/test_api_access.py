"""Who may use which route: every route of the application, for every kind of caller."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping

import pytest
from access_world import Keys, create_keys, create_world, headers
from api_support import Api, running

from api.app import create_app
from api.http.access import DeclaredRoute, declared_routes
from core.access import Scope
from core.records import Records
from core.settings import Settings, read_settings

ROUTES = declared_routes(create_app(read_settings()))
PUBLIC_PATHS = {"/", "/voices", "/audio/{filename}", "/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"}
CONSTANTS = {
    "version": "1",
    "number": "1",
    "stage": "convert",
    "step": "audio_slice",
    "prompt": "default",
    "preset": "quick",
    "name": "none.png",
    "filename": "alice.wav",
    "model": "alice",
}
"""Values of path parameters that name nothing of anybody's by themselves."""
PARAMETERS_BY_PREFIX = {
    "/api/v1/task/": {"task_id": "step_task_id"},
    "/api/v1/dead-letters/": {"job_id": "dead_job_id"},
    "/api/v2/preprocessing/": {"job_id": "dataset_job_id"},
}
"""Path parameters that mean something else below these paths."""
BODIES: Mapping[str, object] = {
    "PATCH /api/v1/datasets/{dataset_id}": {"name": "new"},
    "POST /api/v1/datasets": {"name": "new", "file_ids": ["{file_id}"]},
    "POST /api/v1/datasets/{dataset_id}/files": {"file_ids": ["{file_id}"]},
    "PATCH /api/v1/datasets/{dataset_id}/segments": {"segments": [{"number": 1, "transcript": "a"}]},
    "PATCH /api/v1/datasets/{dataset_id}/segments/{number}": {"transcript": "a"},
    "POST /api/v1/tasks": {"exp_name": "new", "audio_file_id": "{file_id}"},
    "POST /api/v1/experiments": {"exp_name": "new", "audio_file_id": "{file_id}"},
    "PATCH /api/v1/experiments/{exp_id}": {"exp_name": "new"},
    "POST /api/v1/experiments/{exp_id}/stages/{stage}/control": {"action": "pause"},
    "POST /api/v1/voices": {
        "name": "new",
        "gpt_checkpoint_id": "{model_id}",
        "sovits_checkpoint_id": "{model_id}",
        "prompts": [{"file_id": "{file_id}", "text": "a"}],
    },
    "PATCH /api/v1/voices/{voice}": {"language": "ja"},
    "POST /api/v1/voices/{voice}/prompts": {"name": "new", "file_id": "{file_id}", "text": "a"},
    "PATCH /api/v1/voices/{voice}/prompts/{prompt}": {"text": "b"},
    "POST /api/v1/inference": {"text": "a", "voice": "{voice}"},
    "POST /api/v1/inference/batch": {"voice": "{voice}", "items": [{"text": "a"}]},
    "POST /api/v1/keys": {"name": "new"},
    "POST /api/v1/resources/config": {"max_concurrent": {"cpu": {"training": 1}}},
    "POST /api/v2/resources/config": {"max_concurrent": {"cpu": {"training": 1}}},
    "POST /api/v2/training/start": {"exp_name": "new", "dataset_id": "{dataset_id}"},
    "POST /api/v2/preprocessing/split": {"dataset_id": "{dataset_id}"},
    "POST /api/v2/preprocessing/augment": {"dataset_id": "{dataset_id}", "speeds": [0.9]},
    "POST /api/v2/preprocessing/crop": {"dataset_id": "{dataset_id}"},
    "POST /api/v2/inference/start": {"text": "a", "voice": "{voice}"},
    "POST /api/v2/inference/batch": {"voice": "{voice}", "items": [{"text": "a"}]},
    "POST /v1/audio/speech": {"model": "tts-1", "input": "a", "voice": "{voice}"},
    "POST /synthesize": {"target": "a", "voice": "{voice}"},
}
"""Bodies that name what is Alice's; routes that take none of hers are left out."""
NAMES_NOTHING = {
    "POST /api/v1/files",
    "POST /api/v1/task/create",
    "POST /api/v1/voices/import",
    "POST /api/v1/webhooks",
    "GET /api/v1/stages/{stage}/schema",
}
"""Routes that create something new, or tell the same to everybody."""


def _name(route: DeclaredRoute, method: str) -> str:
    return f"{method} {route.path}"


CALLS = [(route, method) for route in ROUTES for method in sorted(route.methods - {"HEAD"})]


def _is_public(route: DeclaredRoute) -> bool:
    return all(access.public for access in route.access)


def _needs_admin(route: DeclaredRoute, method: str) -> bool:
    writes = method != "GET"
    return any((access.writing if writes else access.reading) == (Scope.ADMIN,) for access in route.access)


class World:
    """The things of Alice, and requests that name them."""

    def __init__(self, api: Api, ids: dict[str, str]) -> None:
        self.api = api
        self.ids = ids

    def path(self, route: DeclaredRoute) -> str:
        """Return the path of a route with Alice's ids in it."""
        path = route.path.replace("exp-{rest}", "{step_task_id}")
        for prefix, names in PARAMETERS_BY_PREFIX.items():
            if path.startswith(prefix):
                for parameter, name in names.items():
                    path = path.replace(f"{{{parameter}}}", f"{{{name}}}")
        return self._fill(path)

    async def status(self, route: DeclaredRoute, method: str, key: str) -> tuple[int, str]:
        """Send a request and return its status and its body; of a stream only the status."""
        body = BODIES.get(_name(route, method))
        content = None
        if body is not None:
            content = self._fill_body(body)
        request = self.api.client.build_request(method, self.path(route), headers=headers(key), json=content)
        response = await self.api.client.send(request, stream=True)
        try:
            if "event-stream" in response.headers.get("content-type", ""):
                return response.status_code, ""
            return response.status_code, (await response.aread()).decode(errors="replace")
        finally:
            await response.aclose()

    def _fill(self, text: str) -> str:
        return re.sub(r"{([a-z_]+)}", lambda match: {**CONSTANTS, **self.ids}[match[1]], text)

    def _fill_body(self, body: object) -> object:
        if isinstance(body, dict):
            return {name: self._fill_body(value) for name, value in body.items()}
        if isinstance(body, list):
            return [self._fill_body(value) for value in body]
        return self._fill(body) if isinstance(body, str) else body


@pytest.fixture
async def keyed(settings: Settings, records: Records) -> AsyncIterator[tuple[Api, Keys]]:
    keys = await create_keys(records)
    async with running(settings) as api:
        yield api, keys


def test_every_route_declares_who_may_use_it() -> None:
    undeclared = {route.path for route in ROUTES if not route.access}
    public = {route.path for route in ROUTES if _is_public(route)}

    assert undeclared == {"/openapi.json"}
    assert public == PUBLIC_PATHS


@pytest.mark.parametrize("key", ["", "sk-wrong"])
async def test_without_a_valid_key_only_public_routes_answer(keyed: tuple[Api, Keys], key: str) -> None:
    api, _ = keyed
    world = World(api, await create_world(api))

    statuses = {_name(route, method): (await world.status(route, method, key))[0] for route, method in CALLS}

    open_routes = {_name(route, method) for route, method in CALLS if _is_public(route)}
    assert {name for name, status in statuses.items() if status != 401} == open_routes


async def test_what_belongs_to_one_owner_does_not_exist_for_another(keyed: tuple[Api, Keys]) -> None:
    api, keys = keyed
    world = World(api, await create_world(api))

    results = {_name(route, method): await world.status(route, method, keys.other) for route, method in CALLS}

    wrong = {}
    for route, method in CALLS:
        name = _name(route, method)
        status, body = results[name]
        names_something = "{" in route.path or name in BODIES
        expected = {403} if _needs_admin(route, method) else {404, 400} if name == "POST /synthesize" else {404}
        if _is_public(route) or name in NAMES_NOTHING:
            expected = {200, 404, 422, 400, 503, 201}
        elif not names_something and not _needs_admin(route, method):
            expected = {200}
        leaked = [id_ for id_ in world.ids.values() if id_ and id_ in body and id_ not in world.path(route)]
        sent = str(BODIES.get(name, ""))
        if status not in expected or (leaked and not sent) or "alice" in body.replace(world.path(route), ""):
            wrong[name] = (status, leaked, body[:200])
    assert not wrong


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
        status, body = await world.status(route, method, key)
        admins_only = _needs_admin(route, method) and role == "owner"
        if (status == 403) is not admins_only or status == 401 or (status == 404 and not admins_only):
            wrong[_name(route, method)] = (status, body[:200])
    assert not wrong
