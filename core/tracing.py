"""Traces for OpenTelemetry: from a request over the queue to the worker and its chunks of audio.

They are sent where OTEL_EXPORTER_OTLP_ENDPOINT says; without it, nothing here does anything. What a request's span is,
workers read in Redis under the request's id, which every job carries.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError

from common.package_version import package_version
from core.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

logger = logging.getLogger(__name__)

PARENT_SECONDS: Final = 86_400
"""How long the span of a request is found by its jobs."""
NANOSECONDS: Final = 1_000_000_000


class Tracing:
    """Makes the spans of one process."""

    def __init__(self, settings: Settings, service: str) -> None:
        """`service`: the kind of process, such as api or synthesizer."""
        self.tracer = _make_tracer(settings, service) if settings.otel_exporter_otlp_endpoint else None
        self._prefix = f"{settings.key_prefix}trace:"

    def parent_key(self, request_id: str) -> str:
        """Return the key of Redis under which the span of a request is found."""
        return f"{self._prefix}{request_id}"

    @contextmanager
    def span(
        self,
        name: str,
        *,
        parent: str = "",
        kind: str = "internal",
        began_at: float | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Iterator[Span | None]:
        """Trace what happens in the block; None without tracing.

        Args:
            name: of the span.
            parent: `traceparent` of another process's span; empty: the span around this one.
            kind: server, consumer or internal.
            began_at: seconds since the epoch; None: now.
            attributes: what is known of it.
        """
        if self.tracer is None:
            yield None
            return
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = TraceContextTextMapPropagator().extract({"traceparent": parent}) if parent else None
        start = None if began_at is None else round(began_at * NANOSECONDS)
        with self.tracer.start_as_current_span(
            name,
            context=context,
            kind=trace.SpanKind[kind.upper()],
            start_time=start,
            attributes=dict(attributes or {}),
        ) as span:
            yield span

    def record(
        self, name: str, *, parent: str, began_at: float, ended_at: float, attributes: Mapping[str, Any]
    ) -> None:
        """Trace something that has happened already, such as the time in the queue."""
        if self.tracer is None:
            return
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = TraceContextTextMapPropagator().extract({"traceparent": parent})
        start, end = round(began_at * NANOSECONDS), round(ended_at * NANOSECONDS)
        self.tracer.start_span(name, context=context, start_time=start, attributes=dict(attributes)).end(end)

    def chunk(self, attributes: Mapping[str, Any], began_at: float) -> None:
        """Trace a chunk of audio that has just been published, as a part of the job's span."""
        if self.tracer is not None:
            span = self.tracer.start_span(
                "chunk", start_time=round(began_at * NANOSECONDS), attributes=dict(attributes)
            )
            span.end(round(time.time() * NANOSECONDS))


def current_traceparent() -> str:
    """Return the `traceparent` of the span around the caller; empty without one."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent", "")


def read_parent(redis: Any, key: str) -> str:
    """Return what a blocking client finds of a request's span; empty without it, or while Redis is away."""
    with suppress(RedisError):
        value = redis.get(key)
        return value.decode() if isinstance(value, bytes) else str(value or "")
    return ""


def _make_tracer(settings: Settings, service: str) -> Tracer | None:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError:
        logger.warning(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, and no package that sends traces: pip install 'sovitsd[tracing]'."
        )
        return None
    name = f"{settings.otel_service_name}-{service}"
    provider = TracerProvider(resource=Resource.create({"service.name": name, "service.version": package_version()}))
    endpoint = settings.otel_exporter_otlp_endpoint.rstrip("/") + "/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return provider.get_tracer("sovitsd")
