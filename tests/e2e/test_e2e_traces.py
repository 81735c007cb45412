"""One trace for one request: what came in, its time in the queue, its worker, its chunks; and its metrics."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from daemon_stage import until
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from scripts.demo_daemon import Daemon

pytestmark = pytest.mark.slow
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = bytes.fromhex("0af7651916cd43dd8448eb211c80319c")


class Collector:
    """An OTLP collector on a free port, which keeps the spans that it receives."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Span]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    attributes = {item.key: item.value.string_value for item in resource.resource.attributes}
                    for scope in resource.scope_spans:
                        owner.spans += [(attributes["service.name"], span) for span in scope.spans]
                response = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Length", str(len(response)))
                self.end_headers()
                self.wfile.write(response)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def of_trace(self, trace: bytes) -> list[tuple[str, Span]]:
        return [(service, span) for service, span in self.spans if span.trace_id == trace]


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.http.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield collector
    collector.http.shutdown()
    collector.http.server_close()
    thread.join()


@pytest.fixture(scope="module")
def daemon(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder: Path = tmp_path_factory.mktemp("daemon")
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.http.server_port}",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "LOG_FORMAT": "json",
    }
    with Daemon(folder / "data", folder / "daemon.log", settings) as running:
        yield running


@pytest.fixture(scope="module")
def spoken(daemon: Daemon) -> httpx.Response:
    return httpx.post(
        f"{daemon.url}/v1/audio/speech",
        json={"input": "One two three.", "voice": "allison", "verify": "off", "response_format": "pcm"},
        headers={"traceparent": PARENT, "X-Request-ID": "req-of-the-test"},
        timeout=120,
    )


def test_a_request_its_wait_its_job_and_its_chunks_are_one_trace(collector, spoken):
    assert spoken.status_code == 200

    def complete() -> bool:
        return {"POST /v1/audio/speech", "queue", "job synthesizer", "chunk"} <= {
            span.name for _, span in collector.of_trace(TRACE)
        }

    until(complete, seconds=60)
    by_name = {span.name: (service, span) for service, span in collector.of_trace(TRACE)}
    request, job, wait = (by_name[name][1] for name in ("POST /v1/audio/speech", "job synthesizer", "queue"))
    chunks = [span for _, span in collector.of_trace(TRACE) if span.name == "chunk"]
    seconds = sum(item.value.double_value for span in chunks for item in span.attributes if item.key == "audio.seconds")

    assert request.parent_span_id.hex() == "b7ad6b7169203331"
    assert job.parent_span_id == wait.parent_span_id == request.span_id
    assert {span.parent_span_id for span in chunks} == {job.span_id}
    assert (by_name["POST /v1/audio/speech"][0], by_name["chunk"][0]) == ("sovitsd-api", "sovitsd-worker")
    assert wait.start_time_unix_nano <= wait.end_time_unix_nano <= chunks[0].end_time_unix_nano
    assert seconds * 2 * int(spoken.headers["X-Sample-Rate"]) == pytest.approx(len(spoken.content), rel=0.7)
    attributes = {item.key: item.value for item in request.attributes}
    assert attributes["request.id"].string_value == "req-of-the-test"
    assert attributes["http.response.status_code"].int_value == 200


def test_what_was_spoken_is_counted_for_operators(daemon, spoken):
    assert spoken.status_code == 200

    def metrics() -> dict[str, float]:
        lines = httpx.get(f"{daemon.url}/metrics", timeout=30).text.splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    until(lambda: metrics()["sovits_synthesis_utterances_total"] == 1.0, seconds=60)
    shown = metrics()

    assert shown["sovits_first_audio_seconds_count"] == 1.0
    assert shown["sovits_synthesis_audio_seconds_total"] > 0.5
    assert shown["sovits_synthesis_seconds_total"] > 0.0
    assert shown["sovits_voice_loads_total"] == 1.0
    assert shown["sovits_batch_rows_total"] >= shown["sovits_batch_steps_total"] > 1.0
    assert shown['sovits_job_claims_total{role="synthesizer"}'] == 1.0
    assert shown['sovits_job_wait_seconds_count{role="synthesizer"}'] == 1.0
    assert shown['sovits_job_wait_seconds_bucket{le="+Inf",role="synthesizer"}'] == 1.0
    assert 0 < shown["sovits_disk_free_bytes"] < shown["sovits_disk_bytes"]
    assert [name for name in shown if name.startswith("sovits_host_free_memory_bytes{host=")]


def test_a_log_of_json_has_iso_times_and_names_the_request(daemon, spoken):
    import json

    assert spoken.status_code == 200
    entries = [json.loads(line) for line in daemon.log.read_text().splitlines() if line.startswith("{")]

    assert len(entries) > 5
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["time"]) for entry in entries)
    assert {"level", "module", "pid", "message"} <= entries[0].keys()
    assert any(entry.get("request_id") == "req-of-the-test" for entry in entries)
