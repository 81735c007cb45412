"""Methods that a path does not take, and paths that do not exist."""

from __future__ import annotations

import httpx
import pytest


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/v1/tasks", "GET, HEAD, OPTIONS, POST"),
        ("POST", "/api/v1/tasks/task-1", "DELETE, GET, HEAD, OPTIONS"),
        ("GET", "/v1/audio/speech", "OPTIONS, POST"),
        ("DELETE", "/docs", "GET, HEAD, OPTIONS"),
        ("PATCH", "/voices", "GET, HEAD, OPTIONS"),
    ],
)
async def test_a_method_that_a_path_does_not_take_is_answered_with_those_that_it_takes(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    response = await client.request(method, path)

    assert (response.status_code, response.headers["allow"]) == (405, allowed)
    assert f"{method} is not for {path}" in response.text
    assert allowed in response.text


async def test_options_lists_the_methods(client: httpx.AsyncClient) -> None:
    response = await client.options("/api/v1/tasks")

    assert (response.status_code, response.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")


@pytest.mark.parametrize(
    "path", ["/nowhere", "/api/v1/nowhere", "/api/v2/nowhere", "/v1/nowhere", "/api", "/audio/a/b"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
async def test_an_unknown_path_is_not_found_in_json(client: httpx.AsyncClient, path: str, method: str) -> None:
    response = await client.request(method, path)

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/json"
    assert f"nothing at {path}" in response.text
    assert "allow" not in response.headers


async def test_browsers_get_an_icon(client: httpx.AsyncClient) -> None:
    response = await client.get("/favicon.ico")

    assert response.headers["content-type"] == "image/x-icon"
    assert response.content.startswith(b"\0\0\1\0")
