"""The application: its services from start to end, its routes, its error formats."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import cache
from typing import Final

from fastapi import APIRouter, FastAPI
from redis.asyncio import Redis
from starlette.routing import BaseRoute
from starlette.types import Scope

from api.dependencies import ApiServices
from api.dialects import cosyvoice, elevenlabs, openai, openai_realtime, openai_voices, root
from api.dialects.model_service import envelope, service_info, test_page
from api.dialects.model_service import routes as model_service
from api.dialects.training_service import routes as training_service
from api.dialects.training_service import task_list
from api.dialects.upstream import api_v1 as upstream_v1
from api.dialects.upstream import routes as upstream
from api.dialects.upstream.errors import UpstreamErrors
from api.dialects.wyoming.server import wyoming_server
from api.http import docs_page, errors, openapi, outer_layers
from api.http.access import AccessMiddleware
from api.http.audit import AuditMiddleware
from api.http.auth import KeyRing
from api.http.body_limit import BodyLimitMiddleware
from api.http.draining import DrainingMiddleware
from api.http.head import HeadMiddleware
from api.http.hosts import AllowedHosts, HostMiddleware
from api.http.idempotency import IdempotencyMiddleware
from api.http.json_body import JsonBodyMiddleware
from api.http.metrics import Metrics, RequestMetricsMiddleware
from api.http.origins import AllowedOrigins, OriginMiddleware
from api.http.primary import PrimaryMiddleware
from api.http.recovery_metrics import RecoveryCollector
from api.http.request_context import RequestContextMiddleware, TrustedProxies
from api.http.shared_throttles import SharedThrottles
from api.http.sse import SseResponder
from api.http.stream_tokens import StreamTokens
from api.http.tracing import TracingMiddleware
from api.routes import audit as audit_routes
from api.routes import (
    caller,
    consents,
    console,
    detect,
    experiments,
    files,
    health,
    jobs,
    keys,
    logs,
    models,
    provenance,
    resources,
    service,
    stream_tokens,
    tasks,
    training_results,
    webhooks,
)
from api.routes.datasets import routes as datasets
from api.routes.inference import dubbing
from api.routes.inference import routes as inference
from api.routes.speech_stream import route as speech_stream
from api.routes.stages import routes as stages
from api.routes.voices import proposals as voice_proposals
from api.routes.voices import routes as voices
from api.routes.voices import transfer as voice_transfer
from api.services.caller_sessions import CallerSessions
from api.services.checkpoints import CheckpointService
from api.services.detection import DetectionService
from api.services.jobs import JobService
from api.services.logs import LogService
from api.services.prompt_proposals import PromptProposalService
from api.services.provenance import ProvenanceLog
from api.services.recordings import RecordingService
from api.services.references import ReferenceService
from api.services.speech import SpeechService
from api.services.spoken_consents import SpokenConsents
from api.services.step_tasks import StepTaskService
from api.services.sweeper import sweep_periodically
from api.services.text_splitting import prepare_splitting
from api.services.uploads import UploadService
from api.services.voice_releases import VoiceReleases
from api.services.voices import VoiceService
from api.services.waited_jobs import WaitedJobs
from common.package_version import package_version
from core.audit import AuditLog
from core.cancellation import cancel_and_wait
from core.datasets import DatasetService
from core.experiments.model_versions import ModelVersions
from core.experiments.service import ExperimentService
from core.jobs.chunk_streams import ChunkStreams
from core.jobs.events import Events
from core.jobs.queue import AsyncQueue
from core.jobs.queue_options import QueueOptions
from core.limits import LimitService
from core.marks.speech_marks import SpeechMarks
from core.net.fetch import Fetcher
from core.primary_lease import PrimaryLease
from core.records import Records
from core.redis import connect_async
from core.redis_server import find_redis_url
from core.settings import Settings
from core.speech.batches import BatchService
from core.speech.dubbing import DubbingService
from core.speech.inference import InferenceService
from core.storage import open_storage
from core.tracing import Tracing
from core.webhooks import WebhookService, make_fetcher

MAX_PROMPT_BYTES: Final = 32 << 20
"""Of a downloaded prompt: 30 s uncompressed, in stereo, at 96 kHz are 17 MiB."""
MEMORY_SHARE: Final = 0.9
"""Of the memory of Redis: above it new jobs are rejected, so that those that it has can still end."""
ERROR_FORMATS: Final[tuple[errors.ErrorFormat, ...]] = (
    openai.OpenAIErrors(),
    UpstreamErrors(),
    cosyvoice.CosyVoiceErrors(),
    envelope.EnvelopedErrors(),
    errors.NativeErrors(),
)
"""The first that applies to a path formats its errors."""


def create_app(settings: Settings, redis_url: str = "") -> FastAPI:
    """Create the API as an ASGI application. Redis and the database must be available when it starts.

    Without a URL of Redis, it is that of the settings or of the daemon that runs on the data folder.
    """
    metrics = Metrics()
    metrics.collectors.append(RecoveryCollector(settings))
    audit = AuditLog.of(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        redis = redis_url or settings.resolved_redis_url or find_redis_url(settings)
        async with open_services(settings, redis, metrics, audit) as services, wyoming_server(services):
            app.state.services = services
            yield
        audit.close()

    app = FastAPI(
        title=settings.project_name or "sovitsd",
        summary="Recordings in, voices and speech out.",
        version=package_version(),
        lifespan=lifespan,
        routes=list(shared_routes()),
        openapi_url=None,  # api/http/docs_page.py has it
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(IdempotencyMiddleware)
    app.add_middleware(JsonBodyMiddleware)
    app.add_middleware(BodyLimitMiddleware)
    app.add_middleware(DrainingMiddleware, draining=_is_draining)
    app.add_middleware(PrimaryMiddleware, lease=PrimaryLease.of(settings))
    app.add_middleware(AccessMiddleware)
    app.add_middleware(TracingMiddleware, tracing=Tracing(settings, "api"))
    proxies = TrustedProxies(settings.trusted_proxies)
    outer_layers.install(
        app,
        (
            lambda inner: RequestContextMiddleware(inner, proxies, settings.root_path),
            lambda inner: AuditMiddleware(inner, audit),
            lambda inner: RequestMetricsMiddleware(inner, metrics),
            lambda inner: HostMiddleware(inner, AllowedHosts(settings), proxies, _key_required),
            lambda inner: OriginMiddleware(inner, AllowedOrigins(settings), _key_required),
            HeadMiddleware,
        ),
    )
    errors.install(app, ERROR_FORMATS)
    openapi.install(app, ERROR_FORMATS)
    return app


@cache
def shared_routes() -> tuple[BaseRoute, ...]:
    """Return the routes of every API; those of /api/v1 are ours. Applications share them: they take long to build."""
    combined = APIRouter()
    for router in (
        files.router,
        datasets.router,
        logs.router,
        task_list.router,
        tasks.router,
        training_service.router,
        experiments.router,
        stages.router,
        stages.catalog_router,
        training_results.router,
        voice_transfer.router,
        voices.router,
        voice_proposals.router,
        models.router,
        dubbing.router,  # before that of inferences, which would match its paths
        inference.router,
        jobs.router,
        webhooks.router,
        keys.router,
        resources.router,
        service.router,
        audit_routes.router,
        detect.router,
        consents.router,
        provenance.router,
        stream_tokens.router,
        caller.router,
        service_info.router,
    ):
        combined.include_router(router, prefix="/api/v1")
    for router in (
        model_service.router,
        test_page.router,
        openai.router,
        openai.public_router,
        openai_voices.router,
        openai_realtime.router,
        elevenlabs.router,
        speech_stream.router,
        cosyvoice.router,
        upstream.router,
        upstream.lists_router,
        upstream.control_router,
        upstream_v1.router,
        root.status_router,
        root.router,
        health.router,
        docs_page.router,
        console.router,
    ):
        combined.include_router(router)
    return tuple(combined.routes)


def _is_draining(scope: Scope) -> bool:
    services: ApiServices = scope["app"].state.services
    return services.speech.draining


async def _key_required(scope: Scope) -> bool:
    services: ApiServices = scope["app"].state.services
    return await services.keys.required()


@contextlib.asynccontextmanager
async def open_services(
    settings: Settings, redis_url: str, metrics: Metrics, audit: AuditLog
) -> AsyncIterator[ApiServices]:
    """Open everything that the routes share, and close it in the opposite order when the block ends."""
    chunks = connect_async(redis_url, decode_responses=False)
    services = _make_services(settings, connect_async(redis_url), chunks, metrics, audit)
    sweeping = asyncio.create_task(
        sweep_periodically(services.storage, services.records, settings.result_expiry_seconds, settings.static_dir)
    )
    preparing = asyncio.create_task(prepare_splitting())
    try:
        yield services
    finally:
        await cancel_and_wait(preparing)
        await cancel_and_wait(sweeping)  # it uses the storage's records, which close below
        await services.sse.close()
        await services.speech.close()
        await services.speech.provenance.close()
        await services.speech.streams.close()
        await chunks.aclose()
        await services.events.close()
        await services.records.close()
        await services.redis.aclose()


def _make_services(settings: Settings, redis: Redis, chunks: Redis, metrics: Metrics, audit: AuditLog) -> ApiServices:
    """Connect the services with one another; `chunks` is a connection to Redis that reads bytes."""
    storage = open_storage(settings)
    queue = AsyncQueue(redis, QueueOptions.from_settings(settings, memory_share=MEMORY_SHARE))
    events = Events(queue)
    records = Records.from_settings(settings)
    fetcher = Fetcher(max_bytes=MAX_PROMPT_BYTES, allowed_hosts=settings.fetch_allowed_hosts)
    recordings = RecordingService(storage, fetcher)
    uploads = UploadService(settings, storage, records, recordings)
    limits = LimitService(settings, records, queue)
    versions = ModelVersions(settings.models_folder, settings.default_version, limits)
    experiments = ExperimentService(records, queue, events, storage, versions=versions)
    datasets = DatasetService(records, queue, storage)
    inference = InferenceService(queue)
    batches = BatchService(inference)
    references = ReferenceService(records, storage, recordings)
    streams = ChunkStreams(queue, chunks)
    waited_jobs = WaitedJobs(queue, events)
    spoken_consents = SpokenConsents(settings.app_name, records, storage, waited_jobs, recordings)
    marks = SpeechMarks(settings)
    provenance_log = ProvenanceLog(settings, records)
    speech = SpeechService(settings, storage, queue, events, streams, records, references, marks, provenance_log)
    speech.on_first_audio = metrics.first_audio.observe
    return ApiServices(
        settings=settings,
        redis=redis,
        queue=queue,
        events=events,
        records=records,
        storage=storage,
        experiments=experiments,
        datasets=datasets,
        inference=inference,
        batches=batches,
        dubbings=DubbingService(queue),
        webhooks=WebhookService(records, make_fetcher(settings), settings.secret_box),
        limits=limits,
        fetcher=fetcher,
        keys=KeyRing(
            settings.valid_api_keys,
            records,
            admins=settings.admin_api_keys,
            shared=SharedThrottles(redis, settings.key_prefix),
        ),
        metrics=metrics,
        audit=audit,
        stream_tokens=StreamTokens(redis, settings.key_prefix),
        sse=SseResponder(metrics.watchers),
        checkpoints=CheckpointService(records, storage, settings.data_path),
        releases=VoiceReleases(settings, records, storage),
        jobs=JobService(queue, inference, batches),
        logs=LogService(records, queue, events, storage),
        recordings=recordings,
        references=references,
        sessions=CallerSessions(redis, settings.redis_prefix),
        speech=speech,
        detection=DetectionService(recordings, marks, records),
        spoken_consents=spoken_consents,
        prompt_proposals=PromptProposalService(records, waited_jobs),
        step_tasks=StepTaskService(records, experiments, datasets, events, uploads, storage),
        uploads=uploads,
        voices=VoiceService(records, storage, queue, recordings, spoken_consents),
    )
