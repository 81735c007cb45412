"""Inference of the model service: texts become files, one by one or as one archive."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from fastapi import Request as HttpRequest
from pydantic import Field

from api.dependencies import Api, Services
from api.dialects.model_service.envelope import Envelope, enveloped
from api.dialects.model_service.inputs import Request, check_device, send_when_done
from api.dialects.model_service.training import UploadState, upload_state
from api.http.disconnect import while_connected
from api.http.errors import BadBody
from api.routes.inference import routes as inference
from api.routes.inference.routes import NewBatch, NewInference
from api.routes.inference.views import BatchView, InferenceView, batch_view, inference_view
from common.storage_keys import inference_folder
from core.ids import new_id
from core.jobs.roles import SYNTHESIZER
from core.speech.inference_jobs import BATCH_PREFIX, INFERENCE_PREFIX
from core.speech.requests import PromptRef

router = APIRouter(prefix="/inference")

Priority = Field(3, ge=1, le=10, description="10 goes first.")


class InferenceStart(Request, NewInference):
    """A text, one file; spoken like a recording that a URL names, where one is given."""

    priority: int = Priority
    prompt_url: str = Field("", max_length=2000, description="A recording of 1 to 30 s whose manner is taken on.")
    prompt_text: str = Field("", max_length=1000, description="What is said in it.")
    prompt_language: str = Field("auto", max_length=40)


class BatchStart(Request, NewBatch):
    """Texts whose files come as one archive."""

    priority: int = Priority


class OneInference(InferenceView):
    """A text on its way to a file."""

    type: Literal["inference"]
    upload: UploadState | None


class BatchInference(BatchView):
    """Texts on their way to one archive."""

    type: Literal["batch"]
    upload: UploadState | None


@router.post("/start", response_model=Envelope[OneInference])
async def start(new: InferenceStart, request: HttpRequest, api: Api) -> Response:
    """Speak a text into a file; the answer comes at once."""
    url = new.checked_upload_url(api)
    device = await check_device(api, new.device, SYNTHESIZER)
    id_ = new_id(INFERENCE_PREFIX)
    speech = await inference.checked_request(api, new, new.voice)
    prompt = await while_connected(request, _prompt(api, new, id_)) if new.prompt_url else None
    speech = speech.model_copy(update={"device": device, "prompt": prompt})
    begun = await api.inference.create(speech, new.format, priority=new.priority, inference_id=id_)
    await send_when_done(api, id_, url, new.priority)
    return enveloped(await _shown(api, begun.job.id))


@router.post("/batch", response_model=Envelope[BatchInference])
async def start_batch(new: BatchStart, api: Api) -> Response:
    """Speak many texts; nothing begins unless every item can."""
    url = new.checked_upload_url(api)
    device = await check_device(api, new.device, SYNTHESIZER)
    items = [
        item.model_copy(update={"speech": item.speech.model_copy(update={"device": device})})
        for item in await inference.checked_items(api, new)
    ]
    begun = await api.batches.create(items, priority=new.priority)
    await send_when_done(api, begun.job.id, url, new.priority)
    return enveloped(await _shown(api, begun.job.id))


@router.get("/{inference_id}", response_model=Envelope[OneInference | BatchInference])
async def get(inference_id: str, api: Api) -> Response:
    """Where an inference or a batch is; its result is kept for RESULT_EXPIRY_SECONDS."""
    return enveloped(await _shown(api, inference_id))


async def _shown(api: Services, id_: str) -> OneInference | BatchInference:
    if id_.startswith(f"{BATCH_PREFIX}-"):
        return await shown_batch(api, id_)
    return await shown_inference(api, id_)


async def shown_inference(api: Services, id_: str) -> OneInference:
    """As the model service shows it: progress in percent."""
    view = inference_view(await api.inference.get(id_))
    upload = await upload_state(api, id_)
    return {**view, "progress": round(100 * view["progress"], 1), "type": "inference", "upload": upload}


async def shown_batch(api: Services, id_: str) -> BatchInference:
    view = batch_view(await api.batches.get(id_))
    upload = await upload_state(api, id_)
    return {**view, "progress": round(100 * view["progress"], 1), "type": "batch", "upload": upload}


async def _prompt(api: Services, new: InferenceStart, id_: str) -> PromptRef:
    if not new.prompt_text.strip():
        raise BadBody(
            "prompt_text is missing.",
            hint="Send what is said in the recording of prompt_url.",
            details={"fields": ["prompt_text"]},
        )
    path = api.storage.new_temporary()
    try:
        await api.fetcher.fetch(new.prompt_url, path)
        key = f"{inference_folder(id_)}/prompt.wav"  # swept with the rest of the inference
        return await api.recordings.keep_prompt(path, key, new.prompt_text, new.prompt_language)
    finally:
        path.unlink(missing_ok=True)
