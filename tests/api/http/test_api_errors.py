"""Error responses of the HTTP API."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from core.settings import Settings


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nowhere", 404, "not_found"),
        ("PUT", "/api/v1/tasks", 405, "not_allowed"),
        ("GET", "/api/v1/tasks?limit=0", 422, "invalid_request"),
        ("GET", "/api/v1/tasks?limit=501", 422, "invalid_request"),
        ("GET", "/api/v1/tasks?offset=-1", 422, "invalid_request"),
    ],
)
async def test_every_refusal_has_one_shape(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await client.request(method, path)

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert error["message"]
    assert set(error) <= {"code", "message", "hint", "job_id", "details"}


async def test_what_nobody_foresaw_is_a_plain_500(settings: Settings) -> None:
    app = create_app(settings)
    add_faulty_route(app)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)

    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        response = await client.get("/faulty")

    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert "secret" not in response.text


def add_faulty_route(app: FastAPI) -> None:
    @app.get("/faulty")
    async def faulty() -> None:
        raise RuntimeError("secret")
