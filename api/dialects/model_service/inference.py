"""Inference of the model service: texts that become audio files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Final

from fastapi import APIRouter, Request, Response
from pydantic import Field
from typing_extensions import TypedDict

from api.dependencies import Api, ApiServices
from api.dialects.model_service.envelope import Envelope, enveloped
from api.dialects.model_service.inputs import (
    GPU,
    Device,
    Label,
    ResultUploadFields,
    TaskRequestFields,
    choose_device,
)
from api.dialects.model_service.tasks import (
    STATUSES,
    TaskResponse,
    our_id,
    percent,
    reserved_task_id,
    with_notes,
)
from api.dialects.model_service.texts import read_text
from api.http.access import SPEAKING
from api.http.disconnect import while_connected
from api.services.result_uploads import enqueue_result_upload, result_upload_state
from api.services.speech import SpeechOptions
from api.services.speech_fields import SpeechFields
from core.creation import creation_id
from core.errors import NotFound
from core.jobs.devices import ANYWHERE
from core.jobs.roles import SYNTHESIZER
from core.records import iso
from core.speech.inference import Inference, InferenceStatus
from core.speech.inference_jobs import INFERENCE_PREFIX, InferenceLabels
from core.speech.requests import SpeechRequest

router = APIRouter(prefix="/inference", dependencies=[SPEAKING])

MAX_SOURCES: Final = 500
CHECKPOINT_PREFIX: Final = "ckpt-"

Source = Annotated[
    str, Field(min_length=1, description="A text, or the id or the URL of a text file or of a ZIP of text files.")
]


class InferenceFields(TaskRequestFields, ResultUploadFields, SpeechFields):
    """What one inference and several have in common; how the texts are spoken is an addition."""

    cfg_path: str = Field(min_length=1, max_length=200, description="The voice: its id or its name.")
    weight_path: str = Field(max_length=2000, description="Id of a checkpoint that speaks in place of the voice's.")
    device: Device = GPU


class InferenceStart(InferenceFields):
    """A text for one audio file."""

    source_path: Source
    save_path: Label | None = None
    name: Label | None = None


class BatchStart(InferenceFields):
    """Texts for one audio file each."""

    source_paths: list[Source] = Field(min_length=1, max_length=MAX_SOURCES)
    save_base_path: Label | None = None


class InferenceResult(TypedDict):
    """A finished audio file."""

    audio_url: str
    text: str
    duration_seconds: float
    sample_rate: int


class InferenceTaskView(TaskResponse):
    """A text that becomes an audio file."""

    res: InferenceResult | None
    error_message: str | None


class StartedBatch(TypedDict):
    """Inferences that were started together."""

    status: str
    message: str
    task_ids: list[str]
    total: int


@router.post("/start", response_model=Envelope[InferenceTaskView])
async def start(new: InferenceStart, request: Request, api: Api) -> Response:
    """Synthesize a text into an audio file. The response comes at once, after a text behind a URL is downloaded."""
    destination = new.checked_upload(api)
    [speech], labels = await while_connected(request, _speeches(api, new, [new.source_path]))
    priority = new.priority or api.settings.default_inference_priority
    async with reserved_task_id(api, new.task_id) as reservation:
        if new.task_id is not None:
            labels["task_id"] = new.task_id
        inference = await api.inference.create(
            speech, priority=priority, inference_id=creation_id(INFERENCE_PREFIX), labels=labels
        )
        reservation.task_id = inference.job.id
    await enqueue_result_upload(api.queue, inference.job.id, destination.url, priority, token=destination.token)
    return enveloped(await inference_task(api, inference, request))


@router.post("/batch", response_model=Envelope[StartedBatch])
async def start_batch(new: BatchStart, request: Request, api: Api) -> Response:
    """Synthesize texts into one audio file each. Nothing is synthesized unless every text can be."""
    destination = new.checked_upload(api)
    speeches, labels = await while_connected(request, _speeches(api, new, new.source_paths))
    priority = new.priority or api.settings.default_inference_priority
    inferences = await api.inference.create_several(speeches, priority=priority, labels=labels)
    ids = [inference.job.id for inference in inferences]
    for inference_id in ids:
        await enqueue_result_upload(api.queue, inference_id, destination.url, priority, token=destination.token)
    content: StartedBatch = {
        "status": "success",
        "message": f"已启动 {len(ids)} 个推理任务",
        "task_ids": ids,
        "total": len(ids),
    }
    return enveloped(content)


@router.get("/{inference_id}", response_model=Envelope[InferenceTaskView])
async def get(inference_id: str, request: Request, api: Api) -> Response:
    """Get the status of an inference. Its result expires after RESULT_EXPIRY_SECONDS."""
    return enveloped(await inference_task(api, await find_inference(api, inference_id), request))


async def find_inference(api: ApiServices, inference_id: str) -> Inference:
    """Return an inference by the id that its client chose or by ours."""
    return await api.inference.get(await our_id(api, inference_id))


async def inference_task(api: ApiServices, inference: Inference, request: Request) -> InferenceTaskView:
    """Return an inference as the model service shows it."""
    job, labels = inference.job, inference.request.labels
    upload = await result_upload_state(api.queue, job.id)
    failed_upload = (
        f"The results were not sent: {upload['error_message']}" if upload and upload["error_message"] else ""
    )
    view: InferenceTaskView = {
        "task_id": labels.get("task_id", job.id),
        "task_type": "inference",
        "status": STATUSES[inference.status],
        "message": with_notes(inference.message, labels.get("device_note", ""), failed_upload),
        "progress": percent(inference.progress, completed=inference.status is InferenceStatus.COMPLETED),
        "device": labels.get("device") or (await choose_device(api, GPU, SYNTHESIZER)).shown,
        "priority": job.priority,
        "description": labels.get("description"),
        "created_at": iso(job.created_at or None),
        "updated_at": iso(job.finished_at or inference.started_at or job.created_at or None),
        "res": _result(inference, request),
        "error_message": inference.message if inference.status is InferenceStatus.FAILED else None,
    }
    if warnings := labels.get("warnings"):
        view["warnings"] = warnings
    return view


async def _speeches(
    api: ApiServices, new: InferenceFields, sources: Sequence[str]
) -> tuple[list[SpeechRequest], InferenceLabels]:
    """Check a request and return what is to be spoken."""
    device = await choose_device(api, new.device, SYNTHESIZER)
    options, warnings = await _options(api, new)
    texts = [await read_text(api, source) for source in sources]
    speeches = [await api.speech.request(text, new.cfg_path, options) for text in texts]
    warnings = [*new.unknown_fields(), *warnings]
    labels: InferenceLabels = {
        "description": new.description,
        "device": device.shown,
        "device_note": device.note,
        "warnings": [device.note, *warnings] if device.note else warnings,
    }
    # Tasks of this service count towards the limit of their device, which only jobs with a constraint do.
    constraint = device.constraint or ANYWHERE
    return [speech.model_copy(update={"device": constraint}) for speech in speeches], labels


async def _options(api: ApiServices, new: InferenceFields) -> tuple[SpeechOptions, list[str]]:
    """Return how the texts are spoken, and a sentence where weight_path names no checkpoint to speak with."""
    options = new.speech_options()
    if new.weight_path in ("", new.cfg_path):
        return options, []
    voices_own = [f"weight_path is {new.weight_path[:200]!r}, which is no checkpoint: the voice's own speak."]
    if not new.weight_path.startswith(CHECKPOINT_PREFIX):
        return options, voices_own
    try:
        checkpoint = await api.records.checkpoints.get(new.weight_path)
    except NotFound:
        return options, voices_own
    if checkpoint.kind == "gpt":
        return replace(options, gpt_checkpoint_id=checkpoint.id), []
    return replace(options, sovits_checkpoint_id=checkpoint.id), []


def _result(inference: Inference, request: Request) -> InferenceResult | None:
    if inference.status is not InferenceStatus.COMPLETED:
        return None
    audio = inference.require_audio()
    return {
        "audio_url": f"{request.base_url}api/v1/inference/{inference.job.id}/audio",
        "text": inference.request.text,
        "duration_seconds": audio["seconds"],
        "sample_rate": audio["sample_rate"],
    }
