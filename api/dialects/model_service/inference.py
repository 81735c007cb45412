"""Inference of the model service: texts become audio files, one by one or as one archive."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from api.dependencies import Api, ApiServices
from api.dialects.model_service.envelope import Envelope, enveloped
from api.dialects.model_service.inputs import ModelServiceRequest, check_device
from api.http.access import SPEAKING
from api.http.disconnect import while_connected
from api.http.errors import InvalidBody
from api.routes.inference.routes import NewBatch, NewInference
from api.routes.inference.views import BatchView, InferenceView, batch_view, inference_view
from api.services.batches import check_batch
from api.services.result_uploads import ResultUploadState, enqueue_result_upload, result_upload_state
from common import storage_keys
from core.ids import new_id
from core.jobs.roles import SYNTHESIZER
from core.speech.inference_jobs import BATCH_PREFIX, INFERENCE_PREFIX
from core.speech.requests import PromptRef

router = APIRouter(prefix="/inference", dependencies=[SPEAKING])

Priority = Field(3, ge=1, le=10, description="10 runs first.")


class InferenceStart(ModelServiceRequest, NewInference):
    """A text for one audio file; with a reference recording, its speaking style is used."""

    priority: int = Priority
    prompt_url: str = Field("", max_length=2000, description="URL of a reference recording of 1 to 30 s.")
    prompt_text: str = Field("", max_length=1000, description="Transcript of the reference recording.")
    prompt_language: str = Field("auto", max_length=40)


class BatchStart(ModelServiceRequest, NewBatch):
    """Texts whose audio files are packed into one archive."""

    priority: int = Priority


class SingleInferenceTask(InferenceView):
    """A text that becomes an audio file."""

    type: Literal["inference"]
    upload: ResultUploadState | None


class BatchInferenceTask(BatchView):
    """Texts that become one archive of audio files."""

    type: Literal["batch"]
    upload: ResultUploadState | None


@router.post("/start", response_model=Envelope[SingleInferenceTask])
async def start(new: InferenceStart, request: Request, api: Api) -> Response:
    """Synthesize a text into an audio file. The response comes at once, after the reference recording is downloaded."""
    url = new.checked_upload_url(api)
    device = await check_device(api, new.device, SYNTHESIZER)
    inference_id = new_id(INFERENCE_PREFIX)
    speech = await api.speech.request(new.text, new.voice, new.options())
    prompt = await while_connected(request, _fetch_prompt(api, new, inference_id)) if new.prompt_url else None
    speech = speech.model_copy(update={"device": device, "prompt": prompt})
    await api.inference.create(speech, new.format, priority=new.priority, inference_id=inference_id)
    await enqueue_result_upload(api.queue, inference_id, url, new.priority)
    return enveloped(await inference_task(api, inference_id))


@router.post("/batch", response_model=Envelope[BatchInferenceTask])
async def start_batch(new: BatchStart, api: Api) -> Response:
    """Synthesize many texts into one ZIP. Nothing is synthesized unless every item is valid."""
    url = new.checked_upload_url(api)
    device = await check_device(api, new.device, SYNTHESIZER)
    items = [
        item.model_copy(update={"speech": item.speech.model_copy(update={"device": device})})
        for item in await check_batch(api.speech, new.texts())
    ]
    batch = await api.batches.create(items, priority=new.priority)
    await enqueue_result_upload(api.queue, batch.job.id, url, new.priority)
    return enveloped(await batch_task(api, batch.job.id))


@router.get("/{inference_id}", response_model=Envelope[SingleInferenceTask | BatchInferenceTask])
async def get(inference_id: str, api: Api) -> Response:
    """Get the status of an inference or a batch. Its result expires after RESULT_EXPIRY_SECONDS."""
    view = batch_task if inference_id.startswith(f"{BATCH_PREFIX}-") else inference_task
    return enveloped(await view(api, inference_id))


async def inference_task(api: ApiServices, inference_id: str) -> SingleInferenceTask:
    """Return an inference as the model service shows it, with its progress in percent."""
    view = inference_view(await api.inference.get(inference_id))
    upload = await result_upload_state(api.queue, inference_id)
    return {**view, "progress": round(100 * view["progress"], 1), "type": "inference", "upload": upload}


async def batch_task(api: ApiServices, batch_id: str) -> BatchInferenceTask:
    """Return a batch as the model service shows it, with its progress in percent."""
    view = batch_view(await api.batches.get(batch_id))
    upload = await result_upload_state(api.queue, batch_id)
    return {**view, "progress": round(100 * view["progress"], 1), "type": "batch", "upload": upload}


async def _fetch_prompt(api: ApiServices, new: InferenceStart, inference_id: str) -> PromptRef:
    if not new.prompt_text.strip():
        raise InvalidBody(
            "prompt_text is missing.",
            hint="Send what is said in the recording of prompt_url.",
            details={"fields": ["prompt_text"]},
        )
    key = f"{storage_keys.inference_folder(inference_id)}/prompt.wav"  # expires together with the inference
    return await api.recordings.fetch_prompt(new.prompt_url, key, new.prompt_text, new.prompt_language)
