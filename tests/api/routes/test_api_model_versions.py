"""Every route that takes a version: a named one must be installed, and who names none is served."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from api_support import upload
from placeholder_weights import install_version

from core.settings import Settings


def task(file_id: str, version: dict[str, str]) -> tuple[str, dict[str, Any]]:
    return "/api/v1/tasks", {"exp_name": "bob", "audio_file_id": file_id, "options": version}


def experiment(file_id: str, version: dict[str, str]) -> tuple[str, dict[str, Any]]:
    return "/api/v1/experiments", {"exp_name": "bob", "audio_file_id": file_id, **version}


def stepwise_task(file_id: str, version: dict[str, str]) -> tuple[str, dict[str, Any]]:
    return "/api/v1/task/create", {"task_name": "bob", "config": {"exp_name": "bob", **version}}


ROUTES = (task, experiment, stepwise_task)


@pytest.mark.parametrize("route", ROUTES)
async def test_a_named_version_without_weights_is_rejected_on_request(
    client: httpx.AsyncClient, settings: Settings, route: Any
) -> None:
    path, body = route((await upload(client))["id"], {"version": "v4"})
    rejected = await client.post(path, json=body)
    install_version(settings.data_path / "models", "v4")
    created = await client.post(path, json=body)

    assert rejected.status_code == 422
    assert rejected.json()["error"]["code"] == "missing_weights"
    assert "`main.py download v4`" in rejected.json()["error"]["hint"]
    assert created.status_code in (200, 201)


@pytest.mark.parametrize("version", [{}, {"version": "auto"}])
@pytest.mark.parametrize("route", ROUTES)
async def test_who_names_no_version_is_served_on_a_fresh_machine(
    client: httpx.AsyncClient, route: Any, version: dict[str, str]
) -> None:
    path, body = route((await upload(client))["id"], version)

    assert (await client.post(path, json=body)).status_code in (200, 201)


@pytest.mark.parametrize("route", ROUTES)
async def test_a_training_in_a_language_that_the_chosen_base_never_heard_is_warned_of(
    client: httpx.AsyncClient, route: Any
) -> None:
    file_id = (await upload(client))["id"]
    warnings = []
    for language in ("ja", "zh", "auto"):
        path, body = route(file_id, {"version": "auto", "language": language})
        warnings.append((await client.post(path, json=body)).headers.get("X-Warning"))

    assert warnings == ['language_not_spoken; text="ja"; voice="zh, en"', None, None]


async def test_a_task_shows_which_version_was_chosen(client: httpx.AsyncClient, settings: Settings) -> None:
    path, body = task((await upload(client))["id"], {})
    on_a_fresh_machine = (await client.post(path, json=body)).json()
    install_version(settings.data_path / "models", "v2Pro")
    with_weights = (await client.post(path, json=body)).json()

    assert [created["options"]["version"] for created in (on_a_fresh_machine, with_weights)] == ["nano", "v2Pro"]


async def test_an_experiment_shows_the_default_of_its_clients_and_what_is_trained(client: httpx.AsyncClient) -> None:
    file_id = (await upload(client))["id"]
    unnamed, named, chosen = [
        (await client.post("/api/v1/experiments", json=body)).json()
        for body in (
            {"exp_name": "bob", "audio_file_id": file_id},
            {"exp_name": "bob", "audio_file_id": file_id, "version": "v2"},
            {"exp_name": "bob", "audio_file_id": file_id, "version": "auto"},
        )
    ]

    assert (unnamed["version"], unnamed["model_version"]) == ("v2", "nano")
    assert (named["version"], named["model_version"]) == ("v2", "v2")
    assert (chosen["version"], chosen["model_version"]) == ("nano", "nano")


async def test_the_server_says_what_is_installed(client: httpx.AsyncClient, settings: Settings) -> None:
    install_version(settings.data_path / "models", "v1")
    info = (await client.get("/api/v1/info")).json()

    assert (info["installed_versions"], info["default_version"]) == (["v1", "nano"], "auto")
