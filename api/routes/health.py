"""Is it alive, can it work, what is it: for people, balancers and Prometheus."""

from __future__ import annotations

import asyncio
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from fastapi import APIRouter, Response
from sqlalchemy.exc import SQLAlchemyError
from typing_extensions import TypedDict

from api.dependencies import Api, Services
from api.http.responses import Json
from common.languages import LANGUAGE_CODES
from common.limits import MAX_PRONUNCIATIONS, MAX_SPEED, MIN_SPEED
from common.versions import VERSIONS
from core.errors import SovitsError
from core.jobs.roles import SYNTHESIZER, WAITING_LISTS
from core.speech.inference_jobs import MAX_BATCH_ITEMS
from core.stages.presets import QUALITIES
from core.voices.checks import MAX_PROMPTS

router = APIRouter(tags=["Service"])
"""At the root, without a key."""
keyed = APIRouter(tags=["Service"])

CHECK_SECONDS: Final = 3.0
"""A part that does not answer in this time counts as away."""
FORMATS: Final = ("mp3", "opus", "aac", "flac", "wav", "pcm")


class Alive(TypedDict):
    status: str


class Health(TypedDict):
    """Whether everything is there that a request needs."""

    status: str
    """`ready` or `not_ready`."""
    checks: dict[str, str]
    """Part → `ok` or a sentence."""
    queues: dict[str, int]
    workers: dict[str, int]


class Info(TypedDict):
    """What this server is and can do."""

    name: str
    version: str
    versions: list[str]
    languages: list[str]
    qualities: list[str]
    formats: list[str]
    limits: dict[str, float]


@router.get("/healthz", response_model=Alive)
async def alive() -> Response:
    """200 while this process answers."""
    return Json({"status": "ok"})


@router.get("/readyz", response_model=Health, responses={503: {"model": Health, "description": "Not yet."}})
async def ready(api: Api) -> Response:
    """200 when Redis and the records answer and someone is there to speak; 503 says what is missing."""
    found = await examine(api)
    return Json(found, 200 if found["status"] == "ready" else 503)


@router.get("/metrics", include_in_schema=False)
async def metrics(api: Api) -> Response:
    """What Prometheus reads."""
    found = await examine(api)
    depths = found["queues"] if found["checks"]["queue"] == "ok" else None
    shown = api.metrics.show(depths, found["workers"])
    return Response(shown, media_type="text/plain; version=0.0.4; charset=utf-8")


@keyed.get("/health", response_model=Health)
async def health(api: Api) -> Response:
    """The same as /readyz, always with status 200."""
    return Json(await examine(api))


@keyed.get("/info", response_model=Info)
async def info(api: Api) -> Response:
    """What this server is and can do."""
    return Json(
        {
            "name": "sovitsd",
            "version": own_version(),
            "versions": VERSIONS,
            "languages": list(LANGUAGE_CODES),
            "qualities": list(QUALITIES),
            "formats": FORMATS,
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
    )


async def examine(api: Services) -> dict[str, Any]:
    """`{status, checks: {queue, records, synthesizer}, queues, workers}`; a check is `ok` or a sentence."""
    checks: dict[str, str] = {}
    queues: dict[str, int] = {}
    workers: dict[str, int] = {}
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            queues = await api.queue.depths()
            counted = Counter(worker.role for worker in await api.queue.workers())
            workers = {role: counted.get(role, 0) for role in WAITING_LISTS}
        checks["queue"] = "ok"
    except (SovitsError, TimeoutError) as error:
        checks["queue"] = f"Redis does not answer: {error or 'it took too long'}"
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await api.records.voices.page(limit=1)
        checks["records"] = "ok"
    except (SQLAlchemyError, SovitsError, TimeoutError) as error:
        checks["records"] = f"The records do not answer: {type(error).__name__}"
    checks["synthesizer"] = "ok" if workers.get(SYNTHESIZER) else "not_ready: no synthesizer is running"
    status = "ready" if all(check == "ok" for check in checks.values()) else "not_ready"
    return {"status": status, "checks": checks, "queues": queues, "workers": workers}


def own_version() -> str:
    """Of the installed package; a checkout that was never installed has none."""
    try:
        return version("sovitsd")
    except PackageNotFoundError:
        return "0+checkout"
