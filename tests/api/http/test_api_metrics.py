"""Callers cannot make new series, and no failure is left out."""

from __future__ import annotations

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from api.http.metrics import Metrics, RequestMetricsMiddleware, ServiceSnapshot


async def respond(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond, or fail where the path says so."""
    if scope["path"] == "/fail":
        raise RuntimeError
    await PlainTextResponse("fine")(scope, receive, send)


@pytest.mark.parametrize(("method", "label"), [("GET", "GET"), ("HEAD", "HEAD"), ("BREW", "other"), ("get", "other")])
async def test_an_unknown_method_counts_as_other(method: str, label: str) -> None:
    metrics = Metrics()
    transport = httpx.ASGITransport(RequestMetricsMiddleware(respond, metrics))

    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        request = client.build_request("GET", "/")
        request.method = method
        await client.send(request)

    assert (
        f'sovits_http_requests_total{{method="{label}",route="(none)",status="200"}} 1.0'
        in metrics.render(ServiceSnapshot()).decode()
    )


async def test_a_failure_that_nothing_handled_counts_as_500() -> None:
    metrics = Metrics()
    transport = httpx.ASGITransport(RequestMetricsMiddleware(respond, metrics), raise_app_exceptions=False)

    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        await client.get("/fail")

    assert (
        'sovits_http_requests_total{method="GET",route="(none)",status="500"} 1.0'
        in metrics.render(ServiceSnapshot()).decode()
    )


def test_what_synthesizers_verified_is_counted_by_kind_of_fault() -> None:
    counts = {"utterances": 5.0, "doubtful": 1.0, "retries": 3.0, "seconds": 0.25, "fault:skipped": 2.0}

    text = Metrics().render(ServiceSnapshot({}, verification=counts)).decode()

    assert "sovits_speech_verified_total 5.0" in text
    assert "sovits_speech_doubtful_total 1.0" in text
    assert "sovits_speech_retries_total 3.0" in text
    assert "sovits_speech_verification_seconds_total 0.25" in text
    assert 'sovits_speech_faults_total{kind="skipped"} 2.0' in text
