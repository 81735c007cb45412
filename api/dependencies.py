"""What routes depend on: the services of this process, the caller, the limits of a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query, Request
from redis.asyncio import Redis
from starlette.requests import HTTPConnection

from api.http.auth import KeyRing
from api.http.metrics import Metrics
from api.http.sse import SseResponder
from api.http.stream_tokens import StreamTokens
from api.services.caller_sessions import CallerSessions
from api.services.checkpoints import CheckpointService
from api.services.detection import DetectionService
from api.services.jobs import JobService
from api.services.logs import LogService
from api.services.prompt_proposals import PromptProposalService
from api.services.recordings import RecordingService
from api.services.references import ReferenceService
from api.services.speech import SpeechService
from api.services.spoken_consents import SpokenConsents
from api.services.step_tasks import StepTaskService
from api.services.uploads import UploadService
from api.services.voice_releases import VoiceReleases
from api.services.voices import VoiceService
from core.access import Caller
from core.audit import AuditLog
from core.datasets import DatasetService
from core.experiments.service import ExperimentService
from core.jobs.events import Events
from core.jobs.queue import AsyncQueue
from core.limits import LimitService
from core.net.fetch import Fetcher
from core.records import Records
from core.settings import Settings
from core.speech.batches import BatchService
from core.speech.dubbing import DubbingService
from core.speech.inference import InferenceService
from core.storage import Storage
from core.webhooks import WebhookService


@dataclass(frozen=True, slots=True)
class ApiServices:
    """Everything that the routes share, from the start of the process to its end."""

    settings: Settings
    redis: Redis
    queue: AsyncQueue
    events: Events
    records: Records
    storage: Storage
    experiments: ExperimentService
    datasets: DatasetService
    inference: InferenceService
    batches: BatchService
    dubbings: DubbingService
    webhooks: WebhookService
    limits: LimitService
    fetcher: Fetcher
    keys: KeyRing
    audit: AuditLog
    stream_tokens: StreamTokens
    metrics: Metrics
    sse: SseResponder
    checkpoints: CheckpointService
    releases: VoiceReleases
    jobs: JobService
    logs: LogService
    recordings: RecordingService
    references: ReferenceService
    sessions: CallerSessions
    speech: SpeechService
    detection: DetectionService
    spoken_consents: SpokenConsents
    prompt_proposals: PromptProposalService
    step_tasks: StepTaskService
    uploads: UploadService
    voices: VoiceService


async def services(request: Request) -> ApiServices:
    """Return the services that the application opened when it started."""
    api_services: ApiServices = request.app.state.services
    return api_services


Api = Annotated[ApiServices, Depends(services)]


async def socket_services(connection: HTTPConnection) -> ApiServices:
    """Return the same for a WebSocket."""
    api_services: ApiServices = connection.app.state.services
    return api_services


SocketApi = Annotated[ApiServices, Depends(socket_services)]


async def caller(request: Request) -> Caller:
    """Return who sent the request."""
    sender: Caller = request.state.caller
    return sender


RequestCaller = Annotated[Caller, Depends(caller)]
Limit = Annotated[int, Query(ge=1, le=500, description="Maximum number of items on this page.")]
Cursor = Annotated[
    str,
    Query(max_length=300, description="`next_cursor` of the page before: begin after it; `offset` counts from there."),
]
Offset = Annotated[int, Query(ge=0, le=2**31 - 1, description="Items to skip.")]
