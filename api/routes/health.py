"""Liveness, readiness, metrics and a description of the server."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace

from fastapi import APIRouter, Response
from typing_extensions import TypedDict

from api.dependencies import Api, ApiServices
from api.http.access import PUBLIC
from api.http.metrics import ServiceSnapshot
from api.http.responses import JsonResponse
from api.services.health import Health, check_health
from common.audio_formats import AUDIO_FORMATS
from common.languages import LANGUAGE_CODES
from common.limits import MAX_PRONUNCIATIONS, MAX_SPEED, MIN_SPEED
from common.package_version import package_version
from common.versions import VERSIONS
from core.jobs.loaded_models import loaded_models
from core.jobs.service_counts import ServiceCounts
from core.jobs.verification_counts import VerificationCounts
from core.primary_lease import NotPrimary, PrimaryLease
from core.speech.inference_jobs import MAX_BATCH_ITEMS
from core.stages.presets import QUALITIES
from core.voices.checks import MAX_PROMPTS

router = APIRouter(tags=["Service"], dependencies=[PUBLIC])
"""At the root, without an API key."""


class Alive(TypedDict):
    """The process responds."""

    status: str


class Info(TypedDict):
    """The server's version, capabilities and limits."""

    name: str
    version: str
    versions: list[str]
    installed_versions: list[str]
    """Those whose official weights are there; a request that names another one is rejected."""
    default_version: str
    languages: list[str]
    qualities: list[str]
    formats: list[str]
    limits: dict[str, float]


@router.get("/healthz", response_model=Alive)
async def alive() -> Response:
    """Respond with 200 while this process is running (liveness)."""
    return JsonResponse(Alive(status="ok"))


@router.get("/health", response_model=Alive)
async def alive_for_shells() -> Response:
    """Respond with 200 as soon as requests are answered; desktop shells and balancers ask this."""
    return JsonResponse(Alive(status="ok"))


@router.get("/readyz", response_model=Health, responses={503: {"model": Health, "description": "Not ready."}})
async def ready(api: Api) -> Response:
    """Check whether Redis, the database and a synthesizer are available (readiness).

    200 when all are, else 503; `checks` names what is missing.
    """
    health = await check_health(api.queue, api.records)
    if api.speech.draining:
        health["checks"]["api"] = "not_ready: it is shutting down"
        health["status"] = "not_ready"
    lease = PrimaryLease.of(api.settings)
    if lease is not None:
        try:
            lease.check()
        except NotPrimary as error:
            health["checks"]["primary"] = f"not_ready: {error.message}"
            health["status"] = "not_ready"
    return JsonResponse(health, 200 if health["status"] == "ready" else 503)


@router.get("/metrics", include_in_schema=False)
async def metrics(api: Api) -> Response:
    """Export metrics in the text format of Prometheus."""
    health = await check_health(api.queue, api.records)
    depths = health["queues"] if health["checks"]["queue"] == "ok" else None
    disk = await asyncio.to_thread(shutil.disk_usage, api.settings.data_path)
    snapshot = ServiceSnapshot(depths, health["workers"], disk=(disk.total, disk.free))
    if depths is not None:
        snapshot = replace(
            snapshot,
            loaded=await loaded_models(api.queue),
            verification=await VerificationCounts(api.queue.transport, api.queue.prefix).read(),
            counts=await ServiceCounts(api.queue.transport, api.queue.prefix).read(),
            hosts=await api.limits.hosts(),
        )
    content = await asyncio.to_thread(api.metrics.render, snapshot)  # reads files of other processes
    return Response(content, media_type="text/plain; version=0.0.4; charset=utf-8")


async def info_view(api: ApiServices) -> Info:
    """Return the server's version, the model versions, languages and audio formats that it supports, and its limits."""
    weights = await api.experiments.versions.read()
    return {
        "name": "sovitsd",
        "version": package_version(),
        "versions": list(VERSIONS),
        "installed_versions": [version for version in VERSIONS if weights.has(version)],
        "default_version": api.settings.default_version,
        "languages": list(LANGUAGE_CODES),
        "qualities": list(QUALITIES),
        "formats": list(AUDIO_FORMATS),
        "limits": {
            "max_upload_mb": api.settings.max_upload_mb,
            "max_text_characters": api.settings.max_text_characters,
            "min_speed": MIN_SPEED,
            "max_speed": MAX_SPEED,
            "synthesis_timeout_seconds": api.settings.synthesis_timeout_seconds,
            "result_expiry_seconds": api.settings.result_expiry_seconds,
            "max_batch_items": MAX_BATCH_ITEMS,
            "max_prompts": MAX_PROMPTS,
            "max_pronunciations": MAX_PRONUNCIATIONS,
        },
    }
