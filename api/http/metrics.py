"""What Prometheus reads: requests, waiting jobs, workers, listeners."""

from __future__ import annotations

import time
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 600)


class Metrics:
    """The numbers of this process, in a registry of its own, so that two applications do not meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "sovits_http_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "sovits_http_request_seconds",
            "Time to the first byte of an answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.watchers = Gauge("sovits_sse_watchers", "Event streams open now.", registry=self.registry)
        self.spoken = Counter("sovits_speech_seconds", "Seconds of speech sent.", ("door",), registry=self.registry)
        self.jobs = Gauge(
            "sovits_jobs", "Jobs by role or state, as `depths` counts.", ("queue",), registry=self.registry
        )
        self.workers = Gauge("sovits_workers", "Workers registered.", ("role",), registry=self.registry)
        self.queue_up = Gauge("sovits_queue_up", "1 while Redis answers.", registry=self.registry)

    def show(self, depths: Mapping[str, int] | None, workers: Mapping[str, int]) -> bytes:
        """The text that Prometheus reads; `depths` is None while Redis is away."""
        self.queue_up.set(depths is not None)
        self.jobs.clear()
        for queue, count in (depths or {}).items():
            self.jobs.labels(queue).set(count)
        self.workers.clear()
        for role, count in workers.items():
            self.workers.labels(role).set(count)
        return generate_latest(self.registry)


class CountRequests:
    """Counts every request by its route, never by its path, so that ids make no new series."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = template(scope)
                self.metrics.requests.labels(scope["method"], route, message["status"]).inc()
                self.metrics.seconds.labels(route).observe(time.perf_counter() - started)
            await send(message)

        await self.app(scope, receive, counting)


def template(scope: Scope) -> str:
    """The path with its parameters' names in place of their values; `(none)` for one that leads nowhere."""
    if "endpoint" not in scope:
        return "(none)"
    names = {str(value): f"{{{name}}}" for name, value in scope.get("path_params", {}).items()}
    return "/".join(names.get(part, part) for part in scope["path"].split("/"))
