"""The OpenAPI document: FastAPI's, with the errors, event streams and idempotency keys that FastAPI cannot know."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from fastapi import FastAPI

from api.http.access import public_operations
from api.http.errors import ErrorFormat, NativeErrors
from api.http.idempotency import takes_key
from api.http.openapi_examples import ERROR_EXAMPLE, find_example
from api.http.openapi_parameters import describe_parameters

_EVENT_SCHEMA: Final[dict[str, Any]] = {
    "title": "Event",
    "description": "One event of the stream; `data` is JSON.",
    "type": "object",
    "properties": {"id": {"type": "string"}, "event": {"type": "string"}, "data": {"type": "string"}},
}
_ERROR_RESPONSES: Final = {
    "400": "The request is invalid.",
    "401": "The API key is missing or unknown.",
    "413": "The body is too large.",
    "422": "A field or a parameter is invalid; the message names it.",
    "503": "The service is not ready; repeat the request after `Retry-After` seconds.",
    "default": "Any other error, such as 404 (not found) or 409 (not possible in the present state).",
}
_SECURITY_SCHEMES: Final[dict[str, Any]] = {
    "BearerKey": {"type": "http", "scheme": "bearer", "description": "An API key, where the server has any."},
    "KeyHeader": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key."},
}
_IDEMPOTENCY_KEY: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Repeating a request with the same key within 24 h returns the first response.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[ -~]+$"},
}
_UNUSED_SCHEMAS: Final = ("HTTPValidationError", "ValidationError")
"""Error bodies of FastAPI that this application never sends."""


def multipart_form(properties: dict[str, Any], required: Sequence[str] = ()) -> dict[str, Any]:
    """Return the `openapi_extra` of a route that reads a multipart form itself."""
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def install(app: FastAPI, formats: Sequence[ErrorFormat]) -> None:
    """Let `app.openapi()` describe errors in the formats of their APIs, event streams and idempotency keys."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        complete = app.openapi_schema is not None
        document = generate()
        if not complete:
            _complete(document, formats, public_operations(app))
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(document: dict[str, Any], formats: Sequence[ErrorFormat], public: Collection[tuple[str, str]]) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in _UNUSED_SCHEMAS:
        schemas.pop(name, None)
    schemas["Event"] = _EVENT_SCHEMA
    document["components"]["securitySchemes"] = _SECURITY_SCHEMES
    document["security"] = [{name: []} for name in _SECURITY_SCHEMES]
    schemas |= {error_format.schema_name: error_format.schema for error_format in formats}
    for path, operations in document["paths"].items():
        error_format = next(candidate for candidate in formats if candidate.applies_to(path))
        error_body: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{error_format.schema_name}"}}
        if isinstance(error_format, NativeErrors):
            error_body["example"] = ERROR_EXAMPLE
        error_content = {"application/json": error_body}
        for method, operation in operations.items():
            describe_parameters(operation)
            responses = operation["responses"]
            if (method.upper(), path) in public:
                operation["security"] = []
            for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
                example = find_example(path, content.get("schema", {}))
                if media_type == "application/json" and example is not None:
                    content.setdefault("example", example)
            responses.pop("422", None)
            for status, response in responses.items():
                if status == "200" and not response.get("content"):
                    response["content"] = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
                if "text/event-stream" in response.get("content", {}):
                    response["content"]["text/event-stream"] = {"schema": {"$ref": "#/components/schemas/Event"}}
            for status, meaning in _ERROR_RESPONSES.items():
                responses.setdefault(status, {"description": meaning, "content": error_content})
            if takes_key(method.upper(), path):
                operation.setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
