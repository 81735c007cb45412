"""The OpenAPI document: examples that fit, and who needs a key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from api.app import create_app
from core.settings import read_settings


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(read_settings()).openapi()


def json_bodies(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" in content:
                yield f"{method.upper()} {path}", content["application/json"]


def test_every_body_has_an_example_that_it_accepts(document: dict[str, Any]) -> None:
    bodies = list(json_bodies(document))

    assert len(bodies) > 35
    assert [name for name, content in bodies if "example" not in content] == []
    for name, content in bodies:
        schema = {**content["schema"], "components": document["components"]}
        problems = list(jsonschema.Draft202012Validator(schema).iter_errors(content["example"]))
        assert not problems, f"{name}: {problems[0].message}"


def test_every_parameter_is_described_and_every_response_in_json_has_a_schema(document: dict[str, Any]) -> None:
    undescribed, without_schema = [], []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for parameter in operation.get("parameters", []):
                if not parameter.get("description"):
                    undescribed.append(f"{method.upper()} {path}: {parameter['name']}")
            for status, response in operation["responses"].items():
                if response.get("content", {}).get("application/json", {"schema": True}).get("schema") in (None, {}):
                    without_schema.append(f"{method.upper()} {path}: {status}")

    assert undescribed == []
    assert without_schema == []


def test_the_example_of_an_error_is_one(document: dict[str, Any]) -> None:
    response = document["paths"]["/api/v1/files/{file_id}"]["get"]["responses"]["default"]["content"][
        "application/json"
    ]

    schema = {**response["schema"], "components": document["components"]}
    jsonschema.validate(response["example"], schema)


def test_both_ways_to_send_a_key_are_described_and_what_needs_none(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    keyless = {
        f"{method.upper()} {path}"
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if operation.get("security") == []
    }

    assert (schemes["BearerKey"]["scheme"], schemes["KeyHeader"]["name"]) == ("bearer", "X-API-Key")
    assert document["security"] == [{"BearerKey": []}, {"KeyHeader": []}]
    assert {"GET /healthz", "GET /health", "GET /voices", "GET /v1/audio/voices"} <= keyless
    assert not {"POST /api/v1/tasks", "POST /v1/audio/speech", "GET /api/v1/keys"} & keyless
