"""Metrics for Prometheus: requests, jobs, workers, open event streams."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.jobs.loaded_models import LoadedModel
from core.jobs.verification_counts import DOUBTFUL, FAULT_PREFIX, RETRIES, SECONDS, UTTERANCES

METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
"""Any other method counts as `other`, so that callers cannot make new series."""
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 600)
"""Seconds."""


class Metrics:
    """The metrics of one application, in a registry of their own, so that two applications do not collide."""

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
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.watchers = Gauge("sovits_sse_watchers", "Event streams open now.", registry=self.registry)
        self.speech_seconds = Counter(
            "sovits_speech_seconds", "Seconds of speech sent.", ("door",), registry=self.registry
        )
        self.jobs = Gauge(
            "sovits_jobs", "Jobs by role or state, as `depths` counts.", ("queue",), registry=self.registry
        )
        self.workers = Gauge("sovits_workers", "Workers registered.", ("role",), registry=self.registry)
        self.loaded_models = Gauge(
            "sovits_loaded_models",
            "Voices, prompts and networks in the memory of synthesizers.",
            ("kind",),
            registry=self.registry,
        )
        self.loaded_megabytes = Gauge(
            "sovits_loaded_megabytes",
            "MiB that they occupy; shared ones count for each.",
            ("kind",),
            registry=self.registry,
        )
        self.verification = VerificationCollector()
        self.registry.register(self.verification)
        self.queue_up = Gauge("sovits_queue_up", "1 while Redis answers.", registry=self.registry)

    def render(
        self,
        depths: Mapping[str, int] | None,
        workers: Mapping[str, int],
        loaded: Sequence[LoadedModel] = (),
        verification: Mapping[str, float] | None = None,
    ) -> bytes:
        """Return the text that Prometheus reads. `depths` is None while Redis does not respond."""
        self.queue_up.set(depths is not None)
        self.jobs.clear()
        for queue, count in (depths or {}).items():
            self.jobs.labels(queue).set(count)
        self.workers.clear()
        for role, count in workers.items():
            self.workers.labels(role).set(count)
        self.loaded_models.clear()
        self.loaded_megabytes.clear()
        for model in loaded:
            self.loaded_models.labels(model.kind).inc()
            self.loaded_megabytes.labels(model.kind).inc(model.megabytes)
        self.verification.counts = verification or {}
        return generate_latest(self.registry)


class VerificationCollector(Collector):
    """Counters of the synthesizers, which are kept in Redis."""

    def __init__(self) -> None:
        self.counts: Mapping[str, float] = {}

    def collect(self) -> Iterator[Metric]:
        """Yield the counters."""
        for name, count, description in (
            ("sovits_speech_verified", UTTERANCES, "Sentences that were verified before they were sent."),
            ("sovits_speech_doubtful", DOUBTFUL, "Of these, those with faults that are left."),
            ("sovits_speech_retries", RETRIES, "Further attempts at a sentence."),
            ("sovits_speech_verification_seconds", SECONDS, "Seconds spent on verification."),
        ):
            yield CounterMetricFamily(name, description, self.counts.get(count, 0.0))
        faults = CounterMetricFamily(
            "sovits_speech_faults", "Faults of attempts, corrected or left, by kind.", labels=["kind"]
        )
        for name, value in self.counts.items():
            if name.startswith(FAULT_PREFIX):
                faults.add_metric([name.removeprefix(FAULT_PREFIX)], value)
        yield faults


class RequestMetricsMiddleware:
    """Count requests by route and status, and measure the time to the first byte."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        counted = False

        def count(status: int) -> None:
            nonlocal counted
            counted = True
            route = route_template(scope)
            method = scope["method"] if scope["method"] in METHODS else "other"
            self.metrics.requests.labels(method, route, status).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - started)

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                count(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, send_counted)
        except Exception:
            # The server responds with 500 outside of this middleware.
            if not counted:
                count(500)
            raise


def route_template(scope: Scope) -> str:
    """Return the path with the names of its parameters in place of their values, so that ids make no new series.

    `(none)` for a path without a route.
    """
    if "endpoint" not in scope:
        return "(none)"
    names = {str(value): f"{{{name}}}" for name, value in scope.get("path_params", {}).items()}
    return "/".join(_label(part, names) for part in scope["path"].split("/"))


def _label(part: str, names: Mapping[str, str]) -> str:
    """Return a part of a path with the name of the parameter that it is, or that it ends with after a hyphen."""
    if part in names:
        return names[part]
    prefix, _, rest = part.partition("-")
    return f"{prefix}-{names[rest]}" if rest in names else part
