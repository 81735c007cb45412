"""Metrics for Prometheus: requests, jobs, workers, open event streams."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.operating_system import is_alive
from core.jobs.loaded_models import LoadedModel
from core.jobs.service_counts import (
    CLAIMS,
    ENGINE_ROWS,
    ENGINE_STEPS,
    SEPARATOR,
    SPOKEN_SECONDS,
    SPOKEN_UTTERANCES,
    SYNTHESIS_SECONDS,
    TRAINING_SECONDS,
    TRAINING_STEPS,
    VOICE_LOADS,
    WAIT_BUCKET,
    WAIT_BUCKETS,
    WAIT_SECONDS,
    labeled,
)
from core.jobs.service_counts import RETRIES as RETRIES_OF_JOBS
from core.jobs.verification_counts import DOUBTFUL, FAULT_PREFIX, RETRIES, SECONDS, UTTERANCES
from core.limits import HostInfo

MULTIPROCESS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable by which prometheus_client lets processes count in files."""
MEBIBYTE: Final = 1 << 20
METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
"""Any other method counts as `other`, so that callers cannot make new series."""
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 600)
"""Seconds."""
_FIRST_AUDIO_BUCKETS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30)


@dataclass(frozen=True)
class ServiceSnapshot:
    """What the metrics show of the service beyond this process, at the time when they are read."""

    depths: Mapping[str, int] | None = None
    """Jobs by role or state; None while Redis does not respond."""
    workers: Mapping[str, int] = field(default_factory=dict)
    loaded: Sequence[LoadedModel] = ()
    verification: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, float] = field(default_factory=dict)
    """Of `core.jobs.service_counts`."""
    hosts: Sequence[HostInfo] = ()
    disk: tuple[int, int] | None = None
    """Bytes of the data folder's disk: all, and free."""


class Metrics:
    """The metrics of one application, in a registry of their own, so that two applications do not collide.

    With PROMETHEUS_MULTIPROC_DIR, several processes count in files of that folder, and each shows the sum of all.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.collectors: list[Collector] = []
        """What else is collected when the metrics are read."""
        self.folder = os.environ.get(MULTIPROCESS_FOLDER, "")
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
        self.watchers = Gauge(
            "sovits_sse_watchers", "Event streams open now.", registry=self.registry, multiprocess_mode="livesum"
        )
        self.speech_seconds = Counter(
            "sovits_speech_seconds", "Seconds of speech sent.", ("door",), registry=self.registry
        )
        self.first_audio = Histogram(
            "sovits_first_audio_seconds",
            "Time from a text to the first audio of live speech.",
            buckets=_FIRST_AUDIO_BUCKETS,
            registry=self.registry,
        )

    def render(self, snapshot: ServiceSnapshot) -> bytes:
        """Return the text that Prometheus reads."""
        registry = self.registry
        if self.folder:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=self.folder)  # type: ignore[no-untyped-call]
        service = CollectorRegistry()
        for collector in (
            SnapshotCollector(snapshot),
            VerificationCollector(snapshot.verification),
            CountsCollector(snapshot.counts),
            *self.collectors,
        ):
            service.register(collector)
        return bytes(generate_latest(registry) + generate_latest(service))


def forget_ended_processes() -> None:
    """Drop what processes that are no more said of themselves alone, such as their open streams; counts stay."""
    folder = os.environ.get(MULTIPROCESS_FOLDER, "")
    if not folder:
        return
    for file in Path(folder).glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        if not is_alive(pid):
            mark_process_dead(pid, path=folder)  # type: ignore[no-untyped-call]


class SnapshotCollector(Collector):
    """Gauges of the whole service."""

    def __init__(self, snapshot: ServiceSnapshot) -> None:
        self.snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        snapshot = self.snapshot
        yield GaugeMetricFamily("sovits_queue_up", "1 while Redis answers.", float(snapshot.depths is not None))
        yield _gauge("sovits_jobs", "Jobs by role or state, as `depths` counts.", "queue", snapshot.depths or {})
        yield _gauge("sovits_workers", "Workers registered.", "role", snapshot.workers)
        count: dict[str, float] = defaultdict(float)
        megabytes: dict[str, float] = defaultdict(float)
        for model in snapshot.loaded:
            count[model.kind] += 1
            megabytes[model.kind] += model.megabytes
        kind = "Voices, prompts and networks in the memory of synthesizers."
        yield _gauge("sovits_loaded_models", kind, "kind", count)
        yield _gauge("sovits_loaded_megabytes", "MiB that they occupy; shared ones count for each.", "kind", megabytes)
        if snapshot.disk is not None:
            total, free = snapshot.disk
            yield GaugeMetricFamily("sovits_disk_bytes", "Size of the data folder's disk.", total)
            yield GaugeMetricFamily("sovits_disk_free_bytes", "Free bytes of the data folder's disk.", free)
        yield from self._hosts()

    def _hosts(self) -> Iterator[Metric]:
        memory = GaugeMetricFamily("sovits_host_free_memory_bytes", "Free memory of a host.", labels=["host"])
        used = GaugeMetricFamily("sovits_gpu_used_memory_bytes", "Used memory of a GPU.", labels=["host", "gpu"])
        size = GaugeMetricFamily("sovits_gpu_memory_bytes", "Memory of a GPU.", labels=["host", "gpu"])
        busy = GaugeMetricFamily(
            "sovits_gpu_utilization_ratio", "How much of the last moments a GPU computed.", labels=["host", "gpu"]
        )
        for host in self.snapshot.hosts:
            memory.add_metric([host.host], host.memory_mb * MEBIBYTE)
            for gpu in host.gpus:
                labels = [host.host, str(gpu.index)]
                used.add_metric(labels, (gpu.total_mb - gpu.free_mb) * MEBIBYTE)
                size.add_metric(labels, gpu.total_mb * MEBIBYTE)
                busy.add_metric(labels, gpu.utilization / 100)
        yield from (memory, used, size, busy)


class CountsCollector(Collector):
    """What workers counted of their jobs."""

    def __init__(self, counts: Mapping[str, float]) -> None:
        self.counts = counts

    def collect(self) -> Iterator[Metric]:
        """Yield the counters."""
        yield self._waits()
        for name, count, label, description in (
            ("sovits_job_claims", CLAIMS, "role", "Jobs that workers began, again ones too."),
            ("sovits_job_retries", RETRIES_OF_JOBS, "role", "Of these, those that had failed before."),
            ("sovits_training_steps", TRAINING_STEPS, "stage", "Steps of trainings."),
            ("sovits_training_seconds", TRAINING_SECONDS, "stage", "Seconds that these steps took."),
        ):
            family = CounterMetricFamily(name, description, labels=[label])
            for (value,), number in self._labeled(count):
                family.add_metric([value], number)
            yield family
        for name, count, description in (
            ("sovits_synthesis_seconds", SYNTHESIS_SECONDS, "Seconds from utterances' submission to their last audio."),
            ("sovits_synthesis_audio_seconds", SPOKEN_SECONDS, "Seconds of audio that came of it."),
            ("sovits_synthesis_utterances", SPOKEN_UTTERANCES, "Utterances that were synthesized."),
            ("sovits_voice_loads", VOICE_LOADS, "Voices that had to be loaded for an utterance."),
            ("sovits_batch_steps", ENGINE_STEPS, "Steps of batches of tokens."),
            ("sovits_batch_rows", ENGINE_ROWS, "Utterances in these steps: divided by them, the mean batch."),
        ):
            yield CounterMetricFamily(name, description, self.counts.get(count, 0.0))

    def _waits(self) -> HistogramMetricFamily:
        family = HistogramMetricFamily(
            "sovits_job_wait_seconds", "Time from a job's creation to its first start.", labels=["role"]
        )
        by_role: dict[str, dict[str, float]] = {}
        for (role, limit), number in self._labeled(WAIT_BUCKET):
            by_role.setdefault(role, {})[limit] = number
        for role, numbers in by_role.items():
            total, buckets = 0.0, []
            for limit in (*map(str, WAIT_BUCKETS), "+Inf"):
                total += numbers.get(limit, 0.0)
                buckets.append((limit, total))
            family.add_metric([role], buckets, self.counts.get(labeled(WAIT_SECONDS, role), 0.0))
        return family

    def _labeled(self, name: str) -> Iterator[tuple[list[str], float]]:
        for key, number in self.counts.items():
            first, *labels = key.split(SEPARATOR)
            if first == name:
                yield labels, number


def _gauge(name: str, description: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, description, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


class VerificationCollector(Collector):
    """Counters of the synthesizers, which are kept in Redis."""

    def __init__(self, counts: Mapping[str, float]) -> None:
        self.counts = counts

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
