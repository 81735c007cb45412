"""`/docs`: every route, in the bundled Swagger UI, which also sends requests; without scripts, as one plain page.

Nothing of it comes from the internet. `scripts/swagger-ui` brings the files of `swagger_ui/`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from api.http.access import PUBLIC
from api.http.built_files import find_file
from api.http.request_context import external_path
from api.http.responses import JsonResponse
from core.errors import NotFound

Schema = dict[str, Any]
"""An OpenAPI document, or a part of one."""

_ICON: Final = Path(__file__).with_name("favicon.ico")
_EXPLORER: Final = Path(__file__).with_name("swagger_ui")
_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI writes style attributes; scripts are those of its files only."""
router = APIRouter(include_in_schema=False, dependencies=[PUBLIC])

_STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
body{color:#1b1f24;background:#fff}section{margin:1.2rem 0}code{font-family:ui-monospace,monospace}
h2{margin-top:2.5rem;border-bottom:1px solid #d0d7de}.m{display:inline-block;min-width:4.5rem;font-weight:700}
table{border-collapse:collapse;margin:.4rem 0;font-size:.9rem}
td,th{border:1px solid #d0d7de;padding:.2rem .6rem;text-align:left;vertical-align:top}
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}
td,th,h2{border-color:#30363d}a{color:#6cb6ff}}
body.explored{max-width:none;margin:0;padding:0}
"""


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """Show every route with its fields, examples and responses, and send requests."""
    headers = {**_HEADERS, "Content-Security-Policy": _POLICY}
    return HTMLResponse(render(request.app.openapi()), headers=headers)


@router.get("/docs/assets/{filename}")
async def docs_file(filename: str, request: Request) -> Response:
    """Return a file of the page."""
    file = await find_file(_EXPLORER, filename)
    if file is None:
        raise NotFound(f"The documentation has no file {filename[:100]!r}.", hint="GET /docs names its files.")
    return file.response(request, {**_HEADERS, "Cache-Control": "public, max-age=3600"})


@router.get("/openapi.json")
async def openapi_document(request: Request) -> JsonResponse:
    """Describe every route for programs."""
    document = request.app.openapi()
    if prefix := external_path(""):
        document = {**document, "servers": [{"url": prefix}]}
    return JsonResponse(document)


@router.get("/favicon.ico")
async def favicon() -> Response:
    """Return the icon that browsers ask for."""
    return Response(_ICON.read_bytes(), media_type="image/x-icon", headers={"Cache-Control": "max-age=86400"})


def render(schema: Schema) -> str:
    """Render an OpenAPI document as one HTML page, which Swagger UI replaces by its own view."""
    by_tag: dict[str, list[str]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            tag = operation.get("tags", ["Service"])[0]
            by_tag.setdefault(tag, []).append(_section(schema, method.upper(), path, operation))
    info = schema["info"]
    parts = [f"<h2>{escape(tag)}</h2>{''.join(sections)}" for tag, sections in by_tag.items()]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}: API</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f'<link rel="stylesheet" href="docs/assets/swagger-ui.css"><div id="explorer"></div><main id="reference">'
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info.get('summary', ''))} "
        f'The same for programs: <a href="openapi.json">openapi.json</a>.</p>{"".join(parts)}</main>'
        '<script src="docs/assets/swagger-ui-bundle.js"></script><script src="docs/assets/explorer.js"></script></html>'
    )


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    location: str
    required: bool
    schema: Schema
    description: str

    def row(self) -> str:
        default = "required" if self.required else str(self.schema.get("default", ""))
        cells = (self.name, self.location, _type_name(self.schema), default, self.description)
        return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _section(schema: Schema, method: str, path: str, operation: Schema) -> str:
    fields = [
        _Field(
            parameter["name"],
            parameter["in"],
            parameter.get("required", False),
            parameter.get("schema", {}),
            parameter.get("description", ""),
        )
        for parameter in operation.get("parameters", [])
    ]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        fields += _body_fields(schema, content.get("schema", {}))
    table = ""
    if fields:
        head = "<tr><th>field</th><th>in</th><th>type</th><th>default</th><th></th></tr>"
        table = f"<table>{head}{''.join(field.row() for field in fields)}</table>"
    text = escape(operation.get("description", ""))
    title = f'<span class="m">{method}</span><code>{escape(path)}</code>'
    return f"<section>{title}<div>{text}</div>{table}</section>"


def _body_fields(schema: Schema, body: Schema, prefix: str = "") -> Iterator[_Field]:
    """Yield the fields of a body, those of nested objects under names with dots."""
    body = _resolve(schema, body)
    for name, shape in body.get("properties", {}).items():
        nested = _resolve(schema, shape)
        if "properties" in nested:
            yield from _body_fields(schema, nested, f"{prefix}{name}.")
        else:
            required = name in body.get("required", [])
            yield _Field(prefix + name, "body", required, shape, shape.get("description", ""))


def _resolve(schema: Schema, shape: Schema) -> Schema:
    """Return the component that a `$ref` names; anything else as it is."""
    if "$ref" not in shape:
        return shape
    component: Schema = schema["components"]["schemas"][shape["$ref"].rsplit("/", 1)[1]]
    return component


def _type_name(shape: Schema) -> str:
    if "enum" in shape:
        return " | ".join(str(value) for value in shape["enum"])
    if "anyOf" in shape:
        return " | ".join(_type_name(alternative) for alternative in shape["anyOf"])
    if "$ref" in shape:
        return str(shape["$ref"].rsplit("/", 1)[1])
    limits = [f"{sign} {shape[key]:g}" for key, sign in (("minimum", "≥"), ("maximum", "≤")) if key in shape]
    return " ".join([str(shape.get("const", shape.get("type", "any"))), *limits])
