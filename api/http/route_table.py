"""The routes of the application as they are declared, and the methods that a path has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import fastapi.routing
from fastapi import FastAPI
from starlette.routing import compile_path


def all_routes(app: FastAPI) -> Iterable[Any]:
    """Return every route, in the order in which they are tried."""
    # Before 0.130 or so the framework copied the routes of an included router; since then they are reached this way.
    routes: Iterable[Any] = getattr(fastapi.routing, "iter_route_contexts", iter)(app.router.routes)
    return routes


def allowed_methods(app: FastAPI, path: str) -> list[str]:
    """Return the methods that a path can be requested with, for the header `Allow`; none for an unknown path."""
    methods = {
        method
        for route in all_routes(app)
        if compile_path(route.path)[0].fullmatch(path)
        for method in getattr(route, "methods", None) or ()
    }
    if "GET" in methods:
        methods.add("HEAD")
    return sorted(methods | {"OPTIONS"}) if methods else []
