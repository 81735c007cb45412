"""Inference: texts become audio files through the queue, one by one or many as one archive."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final, cast

import orjson
from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse
from pydantic import AliasChoices, Field

from api.dependencies import Api, ApiServices, Limit, Offset
from api.http.access import SPEAKING
from api.http.responses import JsonResponse, attachment
from api.http.schedule import ScheduleAt, seconds_until
from api.http.schemas import PageView, StrictModel, page_response
from api.http.sse import EventStream, LastEventId
from api.routes.inference.events import batch_feed, inference_feed
from api.routes.inference.result_files import result_file, speech_file
from api.routes.inference.views import (
    BatchSummary,
    BatchView,
    InferenceView,
    batch_summary,
    batch_view,
    inference_view,
)
from api.services.batches import BatchText, check_batch
from api.services.speech_fields import SpeechFields
from common.audio_formats import AudioFormat
from core.errors import NotFound
from core.names import Name
from core.speech.inference import Inference
from core.speech.inference_jobs import MAX_BATCH_ITEMS
from core.speech.subtitles import (
    DEFAULT_LINE_CHARACTERS,
    MAX_LINE_CHARACTERS,
    MIN_LINE_CHARACTERS,
    SUBTITLE_MEDIA_TYPES,
    SubtitleFormat,
    TimedUtterance,
    subtitles,
)

_ITEMS: Final = {"type": "array", "items": {"type": "object"}}
_SUBTITLES: Final[dict[str, dict[str, Any]]] = {
    SUBTITLE_MEDIA_TYPES["srt"]: {"schema": {"type": "string"}},
    SUBTITLE_MEDIA_TYPES["vtt"]: {"schema": {"type": "string"}},
    SUBTITLE_MEDIA_TYPES["json"]: {
        "schema": {"type": "object", "properties": dict.fromkeys(("cues", "words", "marks"), _ITEMS)}
    },
}
"""What the subtitles of an inference are, in each format."""

router = APIRouter(
    prefix="/inference",
    tags=["Inference"],
    dependencies=[SPEAKING],
)


LineCharacters = Annotated[int, Field(ge=MIN_LINE_CHARACTERS, le=MAX_LINE_CHARACTERS)]


class TextToSpeak(StrictModel, SpeechFields):
    """A text, and how it is spoken."""

    text: str = Field(description="The text. Inline tags or SSML are read as input_type says.")
    emotion: str = Field(
        "",
        max_length=100,
        validation_alias=AliasChoices("emotion", "prompt"),
        description="Name of the voice's prompt whose speaking style is used (also `prompt`). Default: its first.",
    )


class NewInference(TextToSpeak):
    """One text for one audio file."""

    voice: str = Field(max_length=200, description="Name or id of a voice.")
    format: AudioFormat = "wav"
    priority: int = Field(5, ge=1, le=10, description="10 runs first.")
    schedule_at: ScheduleAt = None


class NewBatchItem(TextToSpeak):
    """One text of a batch."""

    voice: str = Field("", max_length=200, description="Default: the batch's voice.")
    format: AudioFormat | None = Field(None, description="Default: the batch's format.")
    filename: Name = Field(
        "", max_length=100, description="File name in the archive. Default: the item's number: 001.wav, 002.wav …"
    )


class NewBatch(StrictModel):
    """Texts whose audio files are packed into one archive."""

    items: list[NewBatchItem] = Field(min_length=1, max_length=MAX_BATCH_ITEMS)
    voice: str = Field("", max_length=200, description="For items that name none.")
    format: AudioFormat = Field("wav", description="For items that name none.")
    priority: int = Field(5, ge=1, le=10, description="10 runs first.")
    schedule_at: ScheduleAt = None
    subtitles: SubtitleFormat | None = Field(None, description="Pack subtitles beside each audio file.")
    max_line_characters: LineCharacters = Field(DEFAULT_LINE_CHARACTERS, description="Of a line of the subtitles.")

    def texts(self) -> list[BatchText]:
        """Return the items with the defaults of the batch."""
        return [
            BatchText(
                text=item.text,
                voice=item.voice or self.voice,
                options=item.speech_options(),
                audio_format=item.format or self.format,
                filename=item.filename,
            )
            for item in self.items
        ]


# The routes of batches come before `/inference/{inference_id}`, which would match their path.


@router.post("/batch", status_code=202, response_model=BatchView)
async def create_batch(new: NewBatch, api: Api) -> Response:
    """Synthesize many texts into one ZIP.

    Nothing is synthesized unless every item is valid; an error names the number of the item. All texts together may
    have as many characters as a single one (`max_text_characters` of GET /info).
    """
    items = await check_batch(api.speech, new.texts())
    delay = seconds_until(new.schedule_at)
    batch = await api.batches.create(
        items,
        priority=new.priority,
        delay_seconds=delay,
        subtitles=new.subtitles,
        max_line_characters=new.max_line_characters,
    )
    return JsonResponse(batch_view(batch), 202)


@router.get("/batch", response_model=PageView[BatchSummary])
async def list_batches(api: Api, limit: Limit = 20, offset: Offset = 0) -> Response:
    """List batches without their items, newest first."""
    return page_response(await api.batches.page(limit, offset), batch_summary, limit, offset)


@router.get("/batch/{batch_id}", response_model=BatchView)
async def get_batch(batch_id: str, api: Api) -> Response:
    """Get the status of a batch and of each of its items."""
    return JsonResponse(batch_view(await api.batches.get(batch_id)))


@router.delete("/batch/{batch_id}", response_model=BatchView)
async def cancel_batch(batch_id: str, api: Api) -> Response:
    """Cancel a batch and all items that have not ended. A batch that has ended is left unchanged."""
    return JsonResponse(batch_view(await api.batches.cancel(batch_id)))


@router.get("/batch/{batch_id}/archive", response_class=FileResponse)
async def download_archive(batch_id: str, api: Api) -> Response:
    """Download the ZIP of a batch. `manifest.json` in it names the items that failed. Supports `Range`.

    409 until all items have ended.
    """
    batch = await api.batches.get(batch_id)
    batch_result = batch.require_archive()
    return await result_file(
        api, batch_id, batch_result["archive"], "application/zip", f"{batch_id}.zip", batch_result["sha256"]
    )


@router.get("/batch/{batch_id}/progress", response_class=EventStream)
async def watch_batch(batch_id: str, api: Api, last_event: LastEventId = "") -> Response:
    """Stream the progress of a batch: `progress` for each ended item, then `completed`, `failed` or `cancelled`."""
    return await api.sse.respond(batch_feed(api.batches, api.events, batch_id), last_event)


@router.post("", status_code=202, response_model=InferenceView)
async def create_inference(new: NewInference, api: Api) -> Response:
    """Synthesize a text into an audio file. The response comes at once; the file is made when its turn has come.

    404 for an unknown voice, whose hint names others.
    """
    speech = await api.speech.request(new.text, new.voice, new.speech_options())
    delay = seconds_until(new.schedule_at)
    inference = await api.inference.create(speech, new.format, priority=new.priority, delay_seconds=delay)
    return JsonResponse(inference_view(inference), 202)


@router.get("", response_model=PageView[InferenceView])
async def list_inferences(api: Api, limit: Limit = 50, offset: Offset = 0) -> Response:
    """List inferences, newest first, without those that belong to a batch."""
    return page_response(await api.inference.page(limit, offset), inference_view, limit, offset)


@router.get("/{inference_id}", response_model=InferenceView)
async def get_inference(inference_id: str, api: Api) -> Response:
    """Get the status of an inference. Its result expires after RESULT_EXPIRY_SECONDS.

    Where the request asked for `timestamps`, every utterance of the result has its `words`.
    """
    inference = await api.inference.get(inference_id)
    view = inference_view(inference)
    if view["result"] is not None and inference.request.timestamps:
        spoken = await _timed_utterances(api, inference)
        for utterance, timed in zip(view["result"]["utterances"], spoken, strict=True):
            utterance["words"] = timed["words"]
    return JsonResponse(view)


@router.delete("/{inference_id}", response_model=InferenceView)
async def cancel_inference(inference_id: str, api: Api) -> Response:
    """Cancel an inference. One that has ended is left unchanged."""
    return JsonResponse(inference_view(await api.inference.cancel(inference_id)))


@router.get("/{inference_id}/audio", response_class=FileResponse)
async def download_audio(inference_id: str, api: Api) -> Response:
    """Download the audio file of an inference. Supports `Range`. 409 until it is ready."""
    inference = await api.inference.get(inference_id)
    return await speech_file(api, inference_id, inference.require_audio())


@router.get("/{inference_id}/subtitles", response_class=Response, responses={200: {"content": _SUBTITLES}})
async def download_subtitles(
    inference_id: str,
    api: Api,
    subtitle_format: Annotated[SubtitleFormat, Query(alias="format")] = "srt",
    max_line_characters: LineCharacters = DEFAULT_LINE_CHARACTERS,
) -> Response:
    """Download the subtitles of an inference: cues of up to two lines, which end with sentences and at pauses.

    `json` has the words as well. 409 until the audio is ready.
    """
    inference = await api.inference.get(inference_id)
    spoken = await _timed_utterances(api, inference)
    content = await asyncio.to_thread(subtitles, spoken, subtitle_format, max_line_characters)
    headers = {"Content-Disposition": attachment(f"{inference_id}.{subtitle_format}")}
    return Response(content, headers=headers, media_type=SUBTITLE_MEDIA_TYPES[subtitle_format])


@router.get("/{inference_id}/progress", response_class=EventStream)
async def watch_inference(inference_id: str, api: Api, last_event: LastEventId = "") -> Response:
    """Stream the progress of an inference: `progress` for each sentence, then `completed`, `failed` or `cancelled`."""
    return await api.sse.respond(inference_feed(api.inference, api.events, inference_id), last_event)


async def _timed_utterances(api: ApiServices, inference: Inference) -> list[TimedUtterance]:
    """Return the utterances of a completed inference with their words."""
    path = await asyncio.to_thread(api.storage.path, inference.require_words())
    try:
        content = await asyncio.to_thread(path.read_bytes)
    except FileNotFoundError:
        raise NotFound(
            f"The words of {inference.job.id} are gone.", hint="Files are kept for RESULT_EXPIRY_SECONDS."
        ) from None
    return cast(list[TimedUtterance], orjson.loads(content))
