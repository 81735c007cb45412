"""The application: its services from start to end, its routes, its errors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import APIRouter, Depends, FastAPI

from api.dependencies import Services, require_key
from api.dialects import cosyvoice, openai
from api.dialects.model_service import routes as model_service
from api.dialects.training_service import routes as training_service
from api.dialects.training_service import task_list
from api.http import docs_page as reference
from api.http import errors, openapi
from api.http.auth import KeyRing
from api.http.body_limit import LimitBodies
from api.http.disconnect import end
from api.http.idempotency import IdempotentPosts
from api.http.metrics import CountRequests, Metrics
from api.http.sse import Watchers
from api.routes import (
    experiments,
    files,
    health,
    jobs,
    logs,
    models,
    resources,
    stages,
    tasks,
    training_results,
    webhooks,
)
from api.routes.datasets import routes as datasets
from api.routes.inference import routes as inference
from api.routes.voices import routes as voices
from api.routes.voices import transfer as voice_transfer
from api.services.recordings import Recordings
from api.services.speech import SpeechService
from api.services.sweeper import keep_swept
from core.datasets import DatasetService
from core.experiments.service import ExperimentService
from core.jobs.events import Events
from core.jobs.queue import AsyncQueue
from core.jobs.queue_commands import QueueOptions
from core.limits import LimitService
from core.net.fetch import Fetcher
from core.records import Records
from core.redis import connect_async
from core.settings import Settings
from core.speech.batches import BatchService
from core.speech.inference import InferenceService
from core.storage import open_storage
from core.webhooks import WebhookService, make_fetcher

MAX_FETCH_BYTES = 32 << 20
"""A reference recording lasts 30 s at most; uncompressed, in stereo, at 96 kHz, that is 17 MiB."""


def create_app(settings: Settings, redis_url: str = "") -> FastAPI:
    """The API as an ASGI application; Redis and the records must be there when it starts."""
    metrics = Metrics()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings, redis_url or settings.resolved_redis_url, metrics) as services:
            app.state.services = services
            yield

    app = FastAPI(
        title="sovitsd",
        summary="Recordings in, voices and speech out.",
        version=health.own_version(),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(IdempotentPosts)
    app.add_middleware(LimitBodies)
    app.add_middleware(CountRequests, metrics=metrics)
    errors.install(app)
    openapi.install(app)
    own = APIRouter(prefix="/api/v1", dependencies=[Depends(require_key)])
    for part in (
        files.router,
        datasets.router,
        logs.router,
        task_list.router,
        tasks.router,
        training_service.router,
        experiments.router,
        stages.router,
        stages.catalogue,
        training_results.router,
        voice_transfer.router,
        voices.router,
        models.router,
        inference.router,
        jobs.router,
        webhooks.router,
        resources.router,
        health.keyed,
    ):
        own.include_router(part)
    for router in (own, model_service.router, openai.router, cosyvoice.router, health.router, reference.router):
        app.include_router(router)
    return app


@contextlib.asynccontextmanager
async def open_services(settings: Settings, redis_url: str, metrics: Metrics) -> AsyncIterator[Services]:
    """Everything the routes share; closed in the opposite order."""
    storage = open_storage(settings)
    redis = connect_async(redis_url)
    queue = AsyncQueue(redis, QueueOptions.from_settings(settings))
    events = Events(queue)
    records = Records(settings.resolved_database_url)
    speech = SpeechService(settings, storage, queue, events, records)
    inference = InferenceService(queue)
    watchers = Watchers()
    sweeping = asyncio.create_task(keep_swept(storage, settings.result_expiry_seconds))
    try:
        yield Services(
            settings=settings,
            redis=redis,
            queue=queue,
            events=events,
            records=records,
            storage=storage,
            experiments=ExperimentService(records, queue, events, storage),
            datasets=DatasetService(records, queue, storage),
            speech=speech,
            inference=inference,
            batches=BatchService(inference),
            webhooks=WebhookService(records, make_fetcher(settings)),
            limits=LimitService(settings, records, queue),
            recordings=Recordings(storage),
            fetcher=Fetcher(max_bytes=MAX_FETCH_BYTES, allowed_hosts=settings.fetch_allowed_hosts),
            keys=KeyRing(settings.valid_api_keys, records),
            metrics=metrics,
            watchers=watchers,
        )
    finally:
        await end(sweeping)  # it reads the records, which close below
        await watchers.close()
        await speech.close()
        await events.close()
        await records.close()
        await redis.aclose()
