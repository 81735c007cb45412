"""The service as a whole: what it does now, as a stream, and what it did during the last hour."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from fastapi import APIRouter, Response
from typing_extensions import TypedDict

from api.dependencies import Api, ApiServices
from api.http.access import RESOURCES
from api.http.localization import localized, localized_error
from api.http.responses import JsonResponse
from api.http.sse import EventStream
from api.routes.resources import ResourcesView, resources_view
from api.services.health import Health, check_health
from core.errors import NotReady
from core.jobs.job import Event
from core.service_history import INTERVAL_SECONDS, ServiceHistory, ServiceSample

router = APIRouter(prefix="/service", tags=["Service"], dependencies=[RESOURCES])

STATUS_SECONDS: Final = 2.0
"""Between two events of the stream."""


class ServiceHistoryView(TypedDict):
    """The last hour, oldest sample first."""

    interval_seconds: float
    samples: list[ServiceSample]


class ServiceStatus(TypedDict):
    """The service now."""

    health: Health
    now: ServiceSample
    resources: ResourcesView


@router.get("/history", response_model=ServiceHistoryView)
async def service_history(api: Api) -> Response:
    """Get samples of the last hour: jobs that waited and ran, workers, dead letters, free memory of the hosts."""
    samples = await ServiceHistory(api.queue, api.limits).read()
    return JsonResponse(ServiceHistoryView(interval_seconds=INTERVAL_SECONDS, samples=samples))


@router.get("/status", response_model=ServiceStatus)
async def service_status(api: Api) -> Response:
    """Get the service as it is now: health, queues, running jobs, limits and hosts."""
    return JsonResponse(await _status(api))


@router.get("/stream", response_class=EventStream)
async def watch_service(api: Api) -> Response:
    """Stream the same as /service/status every two seconds, as events `status`. The stream has no end."""
    return await api.sse.respond(_StatusFeed(api), "")


async def _status(api: ApiServices) -> ServiceStatus:
    health = await check_health(api.queue, api.records)
    health["checks"] = {part: localized(check) for part, check in health["checks"].items()}
    health["problems"] = [localized(problem) for problem in health["problems"]]
    return {
        "health": health,
        "now": await ServiceHistory(api.queue, api.limits).sample(),
        "resources": await resources_view(api),
    }


@dataclass(frozen=True, slots=True)
class _StatusFeed:
    """The service again and again; it never ends."""

    api: ApiServices

    async def history(self, after: str) -> list[Event]:
        return []

    async def events(self, after: str) -> AsyncIterator[Event]:
        while True:
            try:
                status = await _status(self.api)
                yield Event(f"{round(time.time() * 1000)}-0", "status", {**status})
            except NotReady as error:
                yield Event("0-0", "unavailable", localized_error(error.as_dict()) or {})
            await asyncio.sleep(STATUS_SECONDS)

    async def terminal_event(self) -> Event | None:
        return None
