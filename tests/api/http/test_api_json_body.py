"""JSON with values that databases and encoders cannot handle is the caller's mistake."""

from __future__ import annotations

import httpx
import pytest
from api_support import upload

from api.http.json_body import MAX_DEPTH, find_problem

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        (b'{"seed": 18446744073709551616}', "seed", "is 18446744073709551616. Integers go from -2^63 to 2^63-1."),
        (b'{"seed": 9223372036854775808}', "seed", "Integers"),
        (b'{"items": [{"seed": -9223372036854775809}]}', "items.0.seed", "Integers"),
        (b'{"text": "a\\ud800b"}', "text", "half of a surrogate pair"),
        (b'{"text": "\\uDFFF\\uD800"}', "text", "half of a surrogate pair"),
        (b'{"text": "\xed\xa0\x80"}', "text", "half of a surrogate pair"),
        ('{"text": "\\ud800"}'.encode("utf-16"), "text", "half of a surrogate pair"),
        (b'{"a": {"b\\udc00": 1}}', "a.b\\udc00", "half of a surrogate pair"),
        (b'{"text": "a\\u0000"}', "text", "NUL"),
        (b'{"speed": NaN}', "speed", "finite"),
        (b'{"speed": -Infinity}', "speed", "finite"),
        (b'{"speed": 1e999}', "speed", "finite"),
    ],
)
async def test_the_field_is_named(client: httpx.AsyncClient, body: bytes, field: str, reason: str) -> None:
    response = await client.post("/api/v1/inference", content=body, headers=JSON)

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (422, "invalid_request")
    assert field in error["message"]
    assert reason in error["message"]
    assert error["details"]["param"] == field


@pytest.mark.parametrize(
    "content",
    [
        b'{"seed": 9223372036854775807}',
        b'{"text": "\\ud83d\\ude00 NaN Infinity 123456789012345678901234567890"}',
        '{"text": "\U0001f600"}'.encode("utf-16"),
        b'{"a": 1e-300, "b": 0.12345678901234567890123}',
        b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
        b"no JSON: 18446744073709551616",
        b"",
    ],
)
def test_what_only_looks_like_it_passes(content: bytes) -> None:
    assert find_problem(content) is None


@pytest.mark.parametrize(
    "body", [b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 200 + b"1" + b"}" * 200, b"1" * 5000, b"[" * 1_000_000]
)
@pytest.mark.parametrize("path", ["/api/v1/inference", "/v1/audio/speech", "/api/v2/inference/start", "/synthesize"])
async def test_nesting_and_digits_without_end_are_rejected(client: httpx.AsyncClient, path: str, body: bytes) -> None:
    response = await client.post(path, content=body, headers=JSON)

    assert response.status_code in (400, 422)


@pytest.mark.parametrize(
    ("path", "status"), [("/api/v1/tasks/a%00b", 404), ("/audio/%00.wav", 404), ("/api/v1/jobs?kind=%00", 400)]
)
async def test_a_nul_in_the_url_is_rejected(client: httpx.AsyncClient, path: str, status: int) -> None:
    assert (await client.get(path)).status_code == status


@pytest.mark.parametrize(
    "path",
    [
        f"/api/v1/{name}?offset={10**20}"
        for name in ("tasks", "files", "experiments", "datasets", "models", "inference", "jobs", "voices", "webhooks")
    ]
    + [f"/api/v1/tasks/x/logs?offset={10**20}", f"/api/v1/jobs/x/logs?offset={10**20}", f"/api/v1/tasks?limit={2**64}"],
)
async def test_numbers_beyond_64_bits_in_a_query_are_rejected(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 422


TRAINING = {"model": "nano", "num_classes": 1, "val_path": "", "save_path": "bob"}
"""A training of the model service without what it trains on."""


@pytest.mark.parametrize("name", ["a\nb", "a\r[INFO] forged", "\x1b[2J", "a\u2028b", "\u202egnp.exe"])
async def test_names_with_control_characters_are_rejected(client: httpx.AsyncClient, name: str) -> None:
    file_id = (await upload(client))["id"]
    requests = {
        "/api/v1/tasks": {"exp_name": name, "audio_file_id": file_id},
        "/api/v1/experiments": {"exp_name": name, "audio_file_id": file_id},
        "/api/v1/datasets": {"name": name, "file_ids": [file_id]},
        "/api/v1/task/create": {"task_name": name, "config": {}},
        "/api/v2/training/start": {**TRAINING, "train_path": file_id, "save_path": name},
        "/api/v1/webhooks": {"url": "https://example.org/", "description": name},
    }
    for path, body in requests.items():
        response = await client.post(path, json=body)
        assert response.status_code == (400 if path.startswith("/api/v2/") else 422), path
        assert "control characters" in response.text


@pytest.mark.parametrize("url", ["http://xn--/", "http://xn--a.xn--/x.wav"])
async def test_a_url_whose_host_cannot_be_decoded_is_rejected(client: httpx.AsyncClient, url: str) -> None:
    file_id = (await upload(client))["id"]
    requests = {
        "/api/v1/webhooks": {"url": url},
        "/api/v1/tasks": {"exp_name": "bob", "audio_file_id": file_id, "webhook_url": url},
        "/api/v2/training/start": {**TRAINING, "train_path": url},
        "/api/v2/preprocessing/split": {"input_path": url, "output_path": "x"},
        "/api/v2/training/start?upload": {
            **TRAINING,
            "train_path": file_id,
            "enable_upload": True,
            "upload_url": url,
        },
    }
    statuses = {path: (await client.post(path, json=body)).status_code for path, body in requests.items()}

    assert set(statuses.values()) <= {400, 422}, statuses
