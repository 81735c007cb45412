"""What every route is given: the services of this process, a caller whose key was checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request
from redis.asyncio import Redis

from api.http.auth import KeyRing, key_of
from api.http.metrics import Metrics
from api.http.sse import Watchers
from api.services.recordings import Recordings
from api.services.speech import SpeechService
from core.datasets import DatasetService
from core.experiments.service import ExperimentService
from core.jobs.events import Events
from core.jobs.queue import AsyncQueue
from core.limits import LimitService
from core.net.fetch import Fetcher
from core.records import Records
from core.settings import Settings
from core.speech.batches import BatchService
from core.speech.inference import InferenceService
from core.storage import Storage
from core.webhooks import WebhookService


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that the routes share, from the start of the process to its end."""

    settings: Settings
    redis: Redis
    queue: AsyncQueue
    events: Events
    records: Records
    storage: Storage
    experiments: ExperimentService
    datasets: DatasetService
    speech: SpeechService
    inference: InferenceService
    batches: BatchService
    webhooks: WebhookService
    limits: LimitService
    recordings: Recordings
    fetcher: Fetcher
    keys: KeyRing
    metrics: Metrics
    watchers: Watchers


async def services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


Api = Annotated[Services, Depends(services)]


async def require_key(request: Request, api: Api) -> None:
    """Unauthorized without a valid key in the headers, where keys are configured."""
    await api.keys.check(key_of(request))


Limit = Annotated[int, Query(ge=1, le=500, description="Items on this page.")]
Offset = Annotated[int, Query(ge=0, le=2**31 - 1, description="Items to skip.")]
