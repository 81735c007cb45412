"""Layers of ASGI middleware outside of the framework's error handling: they see every response, a 500 too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from fastapi import FastAPI
from starlette.types import ASGIApp

Layer: TypeAlias = Callable[[ASGIApp], ASGIApp]
"""Wraps an application in one middleware."""


def install(app: FastAPI, layers: Sequence[Layer]) -> None:
    """Wrap the whole application in layers, the outermost first."""
    build = app.build_middleware_stack

    def build_middleware_stack() -> ASGIApp:
        stack = build()
        for layer in reversed(layers):
            stack = layer(stack)
        return stack

    app.build_middleware_stack = build_middleware_stack  # type: ignore[method-assign]
