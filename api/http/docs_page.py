"""`/docs`: the reference of every route, drawn here, so that it needs nothing from the internet."""

from __future__ import annotations

from html import escape
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

_STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
body{color:#1b1f24;background:#fff}section{margin:1.2rem 0}code{font-family:ui-monospace,monospace}
h2{margin-top:2.5rem;border-bottom:1px solid #d0d7de}.m{display:inline-block;min-width:4.5rem;font-weight:700}
table{border-collapse:collapse;margin:.4rem 0;font-size:.9rem}
td,th{border:1px solid #d0d7de;padding:.2rem .6rem;text-align:left;vertical-align:top}
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}
td,th,h2{border-color:#30363d}a{color:#6cb6ff}}
"""


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """Every route with its fields."""
    return HTMLResponse(draw(request.app.openapi()))


def draw(schema: dict[str, Any]) -> str:
    """An OpenAPI document as one page."""
    by_tag: dict[str, list[str]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            tag = operation.get("tags", ["Service"])[0]
            by_tag.setdefault(tag, []).append(_operation(schema, method.upper(), path, operation))
    info = schema["info"]
    parts = [f"<h2>{escape(tag)}</h2>{''.join(operations)}" for tag, operations in by_tag.items()]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}: API</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info.get('summary', ''))} "
        f'The same for programs: <a href="/openapi.json">openapi.json</a>.</p>{"".join(parts)}</html>'
    )


def _operation(schema: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    rows = [
        (
            one["name"],
            one["in"],
            one.get("required", False),
            one.get("schema", {}),
            one.get("description", ""),
        )
        for one in operation.get("parameters", [])
    ]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        rows += _fields(schema, content.get("schema", {}))
    table = ""
    if rows:
        head = "<tr><th>field</th><th>in</th><th>type</th><th>default</th><th></th></tr>"
        table = f"<table>{head}{''.join(_row(*row) for row in rows)}</table>"
    text = escape(operation.get("description", ""))
    title = f'<span class="m">{method}</span><code>{escape(path)}</code>'
    return f"<section>{title}<div>{text}</div>{table}</section>"


def _fields(schema: dict[str, Any], body: dict[str, Any], prefix: str = "") -> list[tuple[str, str, bool, Any, str]]:
    body = _resolve(schema, body)
    rows = []
    for name, shape in body.get("properties", {}).items():
        inner = _resolve(schema, shape)
        required = name in body.get("required", [])
        if "properties" in inner:
            rows += _fields(schema, inner, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, "body", required, shape, shape.get("description", "")))
    return rows


def _resolve(schema: dict[str, Any], shape: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in shape:
        return shape
    found: dict[str, Any] = schema["components"]["schemas"][shape["$ref"].rsplit("/", 1)[1]]
    return found


def _row(name: str, where: str, required: bool, shape: dict[str, Any], text: str) -> str:
    default = "required" if required else str(shape.get("default", ""))
    cells = (name, where, _kind(shape), default, text)
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _kind(shape: dict[str, Any]) -> str:
    if "enum" in shape:
        return " | ".join(str(one) for one in shape["enum"])
    if "anyOf" in shape:
        return " | ".join(_kind(one) for one in shape["anyOf"])
    if "$ref" in shape:
        return str(shape["$ref"].rsplit("/", 1)[1])
    limits = [f"{sign} {shape[key]:g}" for key, sign in (("minimum", "≥"), ("maximum", "≤")) if key in shape]
    return " ".join([str(shape.get("const", shape.get("type", "any"))), *limits])
