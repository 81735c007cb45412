"""The OpenAPI document: what FastAPI draws from the routes, and the errors that every route may answer with."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI

_TEXT: Final = {"type": "string"}
_ERROR: Final[dict[str, Any]] = {
    "title": "Error",
    "description": "What went wrong, and what would work.",
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "hint"],
            "properties": {
                "code": {**_TEXT, "description": "Stable, for programs."},
                "message": _TEXT,
                "hint": {**_TEXT, "description": "What would work instead."},
                "job_id": _TEXT,
                "details": {"type": "object"},
            },
        }
    },
}
_OPENAI_ERROR: Final[dict[str, Any]] = {
    "title": "OpenAIError",
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": _TEXT,
                "type": _TEXT,
                "param": {"type": ["string", "null"]},
                "code": _TEXT,
            },
        }
    },
}
_ENVELOPED_ERROR: Final[dict[str, Any]] = {
    "title": "EnvelopedError",
    "type": "object",
    "required": ["code", "msg", "data"],
    "properties": {
        "code": {"type": "integer", "description": "The HTTP status."},
        "msg": _TEXT,
        "data": {"$ref": "#/components/schemas/Error"},
    },
}
_EVENT: Final[dict[str, Any]] = {
    "title": "Event",
    "description": "Each event of the stream; `data` is JSON.",
    "type": "object",
    "properties": {"id": _TEXT, "event": _TEXT, "data": _TEXT},
}
_SHAPES: Final = {"/v1/": "OpenAIError", "/api/v2/": "EnvelopedError"}
"""Paths whose errors have another shape (`api.http.errors.respond`)."""
_MEANINGS: Final = {
    "400": "The request cannot be followed.",
    "401": "A key is missing or unknown.",
    "413": "The body is too large.",
    "422": "A field or a parameter does not fit; the message names it.",
    "503": "The service cannot take this now; `Retry-After` says when to ask again.",
    "default": "Any other error: 404 for what is not there, 409 for what its state does not allow …",
}
_IDEMPOTENCY_KEY: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Within 24 h the same key with the same request gets the same answer.",
    "schema": {**_TEXT, "minLength": 1, "maxLength": 200, "pattern": "^[ -~]+$"},
}
_FASTAPIS_OWN: Final = ("HTTPValidationError", "ValidationError")
"""Schemas of errors that FastAPI would answer with and this API never does."""


def install(app: FastAPI) -> None:
    """Let `app.openapi()` tell of errors as `api.http.errors` makes them."""
    draw = app.openapi

    def with_errors() -> dict[str, Any]:
        drawn_before = app.openapi_schema is not None
        schema = draw()
        if not drawn_before:
            _add_errors(schema)
            _add_keys(schema)
        return schema

    app.openapi = with_errors  # type: ignore[method-assign]


def _add_keys(schema: dict[str, Any]) -> None:
    """Every POST of ours takes an idempotency key (api/http/idempotency.py)."""
    for path, methods in schema["paths"].items():
        if path.startswith("/api/") and "post" in methods:
            methods["post"].setdefault("parameters", []).append(_IDEMPOTENCY_KEY)


def _add_errors(schema: dict[str, Any]) -> None:
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    for name in _FASTAPIS_OWN:
        schemas.pop(name, None)
    schemas |= {"Error": _ERROR, "OpenAIError": _OPENAI_ERROR, "EnvelopedError": _ENVELOPED_ERROR, "Event": _EVENT}
    for path, methods in schema["paths"].items():
        shape = next((shape for prefix, shape in _SHAPES.items() if path.startswith(prefix)), "Error")
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{shape}"}}}
        for operation in methods.values():
            operation["responses"].pop("422", None)
            for status, answer in operation["responses"].items():
                if status == "200" and not answer.get("content"):
                    answer["content"] = {"*/*": {"schema": {**_TEXT, "format": "binary"}}}
                if "text/event-stream" in answer.get("content", {}):
                    answer["content"]["text/event-stream"] = {"schema": {"$ref": "#/components/schemas/Event"}}
            for status, meaning in _MEANINGS.items():
                operation["responses"].setdefault(status, {"description": meaning, "content": content})
