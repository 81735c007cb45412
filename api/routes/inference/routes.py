"""Inference: texts become files through the queue, one by one or many as one archive."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Annotated, Final

from fastapi import APIRouter, Header, Response
from fastapi.responses import FileResponse
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from api.dependencies import Api, Limit, Offset, Services
from api.http.errors import BadBody
from api.http.responses import Json
from api.http.schedule import ScheduleAt, seconds_until
from api.http.sse import EventStream, last_event_id, replay
from api.routes.inference import events as inference_events
from api.routes.inference.views import (
    BatchPage,
    BatchView,
    InferencePage,
    InferenceView,
    batch_summary,
    batch_view,
    inference_view,
)
from common.audio_formats import FILE_EXTENSIONS, AudioFormat
from common.limits import MAX_SPEED, MIN_SPEED
from core.errors import NotFound, SovitsError
from core.jobs.job import Job
from core.speech.inference import require_result
from core.speech.inference_jobs import MAX_BATCH_ITEMS, BatchItem
from core.speech.requests import InputType, SpeechRequest

router = APIRouter(prefix="/inference", tags=["Inference"])

_FILENAME: Final = re.compile(r"[^\x00-\x1f\x7f/\\:*?\"<>|]{1,100}")
"""What every file system takes."""


class Words(BaseModel):
    """A text and how it is spoken."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(description="The text, with marks or SSML where input_type allows them.")
    language: str = Field("auto", max_length=40, description="GET /info lists them.")
    speed: float = Field(1.0, ge=MIN_SPEED, le=MAX_SPEED)
    seed: int | None = Field(None, ge=0, le=2**32 - 1, description="The same seed, the same sound.")
    emotion: str = Field(
        "",
        max_length=100,
        validation_alias=AliasChoices("emotion", "prompt"),
        description="Which of the voice's prompts to speak like (also `prompt`); without one, its first.",
    )
    input_type: InputType = "auto"
    pronunciations: dict[str, str] | None = Field(None, description="Word → reading, before those of the voice.")


class NewInference(Words):
    """One text, one file."""

    voice: str = Field(max_length=200, description="Name or id of a voice.")
    format: AudioFormat = "wav"
    priority: int = Field(5, ge=1, le=10, description="10 goes first.")
    schedule_at: ScheduleAt = None


class NewBatchItem(Words):
    """One text of a batch."""

    voice: str = Field("", max_length=200, description="Without one, the batch's.")
    format: AudioFormat | None = Field(None, description="Without one, the batch's.")
    filename: str = Field("", max_length=100, description="In the archive; without one, its number: 001.wav, 002.wav …")


class NewBatch(BaseModel):
    """Texts whose files come as one archive."""

    model_config = ConfigDict(extra="forbid")

    items: list[NewBatchItem] = Field(min_length=1, max_length=MAX_BATCH_ITEMS)
    voice: str = Field("", max_length=200, description="For items that name none.")
    format: AudioFormat = Field("wav", description="For items that name none.")
    priority: int = Field(5, ge=1, le=10, description="10 goes first.")
    schedule_at: ScheduleAt = None


# Batches come first: `batch` is no id.


@router.post("/batch", status_code=202, response_model=BatchView)
async def create_batch(new: NewBatch, api: Api) -> Response:
    """Speak many texts; their files come as one ZIP. Nothing begins unless every item can."""
    items = await checked_items(api, new)
    delay = seconds_until(new.schedule_at)
    return Json(batch_view(await api.batches.create(items, priority=new.priority, delay_seconds=delay)), 202)


async def checked_items(api: Services, new: NewBatch) -> list[BatchItem]:
    """The items of a batch, when every one of them can be spoken; each has a file name of its own."""
    names = _filenames(new)
    items = [
        BatchItem(speech=await _item_request(api, new, number), format=item.format or new.format, filename=name)
        for number, (item, name) in enumerate(zip(new.items, names, strict=True))
    ]
    characters = sum(len(item.speech.text) for item in items)
    if characters > api.settings.max_text_characters:
        longest = api.settings.max_text_characters
        raise BadBody(f"The texts have {characters:,} characters in all; {longest:,} is the most.", hint="Send two.")
    return items


@router.get("/batch", response_model=BatchPage)
async def list_batches(api: Api, limit: Limit = 20, offset: Offset = 0) -> Response:
    """The batches, newest first, without their items."""
    page = await api.batches.page(limit, offset)
    items = [batch_summary(one) for one in page.items]
    return Json({"items": items, "total": page.total, "limit": limit, "offset": offset})


@router.get("/batch/{batch_id}", response_model=BatchView)
async def get_batch(batch_id: str, api: Api) -> Response:
    """Where a batch is, and each of its items."""
    return Json(batch_view(await api.batches.get(batch_id)))


@router.delete("/batch/{batch_id}", response_model=BatchView)
async def cancel_batch(batch_id: str, api: Api) -> Response:
    """Stop a batch and all of its items that have not ended; one that has ended stays as it is."""
    return Json(batch_view(await api.batches.cancel(batch_id)))


@router.get("/batch/{batch_id}/archive", response_class=FileResponse)
async def download_archive(batch_id: str, api: Api) -> Response:
    """The ZIP, once all items have ended: `manifest.json` names those that failed. `Range` is honoured."""
    batch = await api.batches.get(batch_id)
    made = require_result(batch.job, "The batch")
    return await _file(api, batch.job, made["archive"], "application/zip", f"{batch_id}.zip", made["sha256"])


@router.get("/batch/{batch_id}/progress", response_class=EventStream)
async def watch_batch(
    batch_id: str, api: Api, last_event: Annotated[str, Header(alias="Last-Event-ID")] = ""
) -> Response:
    """Events `progress`, one an item that ended, and at last `completed`, `failed` or `cancelled`."""
    batch = await api.batches.get(batch_id)
    story = inference_events.BatchStory(api.batches, batch_id)
    return await _stream(api, story, last_event_id(last_event), batch.status.terminal)


@router.post("", status_code=202, response_model=InferenceView)
async def create_inference(new: NewInference, api: Api) -> Response:
    """Speak a text into a file; the answer comes at once, the file when its turn has come."""
    speech = await checked_request(api, new, new.voice)
    delay = seconds_until(new.schedule_at)
    made = await api.inference.create(speech, new.format, priority=new.priority, delay_seconds=delay)
    return Json(inference_view(made), 202)


@router.get("", response_model=InferencePage)
async def list_inferences(api: Api, limit: Limit = 50, offset: Offset = 0) -> Response:
    """The inferences, newest first; those of batches are listed there."""
    page = await api.inference.page(limit, offset)
    items = [inference_view(one) for one in page.items]
    return Json({"items": items, "total": page.total, "limit": limit, "offset": offset})


@router.get("/{inference_id}", response_model=InferenceView)
async def get_inference(inference_id: str, api: Api) -> Response:
    """Where an inference is; its result is kept for RESULT_EXPIRY_SECONDS."""
    return Json(inference_view(await api.inference.get(inference_id)))


@router.delete("/{inference_id}", response_model=InferenceView)
async def cancel_inference(inference_id: str, api: Api) -> Response:
    """Stop an inference; one that has ended stays as it is."""
    return Json(inference_view(await api.inference.cancel(inference_id)))


@router.get("/{inference_id}/audio", response_class=FileResponse)
async def download_audio(inference_id: str, api: Api) -> Response:
    """The file, once it is ready; `Range` is honoured."""
    job = (await api.inference.get(inference_id)).job
    made = require_result(job, "The inference")
    name = f"{inference_id}.{FILE_EXTENSIONS[made['format']]}"
    return await _file(api, job, made["audio"], made["media_type"], name, made["sha256"])


@router.get("/{inference_id}/progress", response_class=EventStream)
async def watch_inference(
    inference_id: str, api: Api, last_event: Annotated[str, Header(alias="Last-Event-ID")] = ""
) -> Response:
    """Events `progress`, one a sentence that is spoken, and at last `completed`, `failed` or `cancelled`."""
    one = await api.inference.get(inference_id)
    story = inference_events.InferenceStory(api.inference, inference_id)
    return await _stream(api, story, last_event_id(last_event), one.status.terminal)


async def checked_request(api: Services, words: Words, voice: str) -> SpeechRequest:
    """What is asked of a voice, when it can be spoken."""
    return await api.speech.request(
        words.text,
        voice,
        language=words.language,
        speed=words.speed,
        seed=words.seed,
        prompt_name=words.emotion,
        input_type=words.input_type,
        pronunciations=words.pronunciations,
    )


async def _item_request(api: Services, new: NewBatch, number: int) -> SpeechRequest:
    """An item's request; its refusal says which item it is."""
    item = new.items[number]
    if not (item.voice or new.voice):
        raise BadBody(f"The item {number} names no voice, and neither does the batch.")
    try:
        return await checked_request(api, item, item.voice or new.voice)
    except SovitsError as error:
        error.message = f"Item {number}: {error.message}"
        error.details = {**error.details, "item": number}
        raise


def _filenames(new: NewBatch) -> list[str]:
    """One an item, each with the ending of its format and none twice, in any case of letters."""
    names: list[str] = []
    seen: dict[str, int] = {}
    for number, item in enumerate(new.items):
        ending = f".{FILE_EXTENSIONS[item.format or new.format]}"
        base = item.filename.removesuffix(ending).strip(" .") if item.filename else f"{number + 1:03d}"
        if not _FILENAME.fullmatch(base):
            raise BadBody(
                f"Item {number}: {item.filename!r} is no name for a file.",
                hint='Up to 100 characters, without / \\ : * ? " < > | and what cannot be seen.',
            )
        name = base + ending
        if name.casefold() in seen:
            raise BadBody(f"The items {seen[name.casefold()]} and {number} have the same file name, {name!r}.")
        seen[name.casefold()] = number
        names.append(name)
    return names


async def _file(api: Services, job: Job, key: str, media_type: str, name: str, sha256: str) -> Response:
    path = await asyncio.to_thread(api.storage.path, key)
    if not path.is_file():
        raise NotFound(f"The file of {job.id} is gone.", hint="Files are kept for RESULT_EXPIRY_SECONDS.")
    headers = {"X-Content-Type-Options": "nosniff", "ETag": f'"{sha256}"'}
    return FileResponse(path, media_type=media_type, filename=name, headers=headers)


async def _stream(api: Services, story: inference_events.Story, after: str, ended: bool) -> Response:
    if ended:
        history = [event async for event in story.told(_each(await api.queue.event_history(story.id)), after)]
        return EventStream(replay(history, await story.ending()))
    return EventStream(_watched(api, story, after))


async def _each(events: Sequence[inference_events.Event]) -> AsyncGenerator[inference_events.Event, None]:
    for event in events:
        yield event


async def _watched(api: Services, story: inference_events.Story, after: str) -> AsyncGenerator[bytes, None]:
    follow = lambda since: story.told(api.events.watch(story.id), since)  # noqa: E731
    with api.metrics.watchers.track_inprogress():
        async with aclosing(api.watchers.watch(follow, after, story.ended)) as chunks:
            async for chunk in chunks:
                yield chunk
