"""Subtitles that are spoken: SRT or WebVTT in, one audio file with every cue at its time out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, NotRequired

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse
from pydantic import Field
from typing_extensions import TypedDict

from api.dependencies import Api, Limit, Offset
from api.http.access import SPEAKING
from api.http.localization import localized, localized_error, localized_message
from api.http.request_context import external_path
from api.http.responses import JsonResponse
from api.http.schemas import JsonObjectView, PageView, StrictModel, page_response
from api.http.sse import EventStream, LastEventId
from api.routes.inference.events import dubbing_feed
from api.routes.inference.result_files import speech_file
from api.services.dubbing import plan_dubbing
from api.services.speech_fields import SpeechFields
from common.audio_formats import AudioFormat
from common.limits import MAX_SPEED, MIN_SPEED
from core.records import iso
from core.speech.cues import MAX_BYTES, parse_subtitles
from core.speech.dubbing import Dubbing
from core.speech.dubbing_jobs import CueReport

router = APIRouter(
    prefix="/inference/subtitles",
    tags=["Inference"],
    dependencies=[SPEAKING],
)

MAX_SPEAKERS = 50
Speed = Annotated[float, Field(ge=MIN_SPEED, le=MAX_SPEED)]


class NewDubbing(StrictModel, SpeechFields):
    """Subtitles to speak, and in whose voice."""

    subtitles: str = Field(max_length=MAX_BYTES, description="SRT or WebVTT.")
    voice: str = Field("", max_length=200, description="Name or id of a voice, for speakers that `voices` leaves out.")
    voices: dict[str, Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        {},
        max_length=MAX_SPEAKERS,
        description="Speaker → voice. Speakers stand in WebVTT's `<v Anna>`, or before the words: `Anna: Hello.`",
    )
    min_speed: Speed = Field(1.0, description="How slowly a cue may be spoken to fill its time, times `speed`.")
    max_speed: Speed = Field(1.5, description="How fast a cue may be spoken to fit into its time, times `speed`.")
    format: AudioFormat = "wav"
    priority: int = Field(5, ge=1, le=10, description="10 runs first.")


class DubbedAudioView(TypedDict):
    """A finished file, and how each cue was spoken."""

    download_url: str
    format: str
    media_type: str
    sample_rate: int
    seconds: float
    size_bytes: int
    sha256: str
    cues: list[CueReport]
    fits: int
    """Cues that are spoken within their time."""


class DubbingView(TypedDict):
    """Subtitles that become an audio file."""

    id: str
    status: str
    progress: float
    message: str
    format: str
    cues: int
    """How many have words."""
    utterances_done: int
    utterances_total: int | None
    priority: int
    created_at: str | None
    completed_at: str | None
    error: JsonObjectView | None
    error_message: str | None
    result: NotRequired[DubbedAudioView | None]


@router.post("", status_code=202, response_model=DubbingView)
async def create_dubbing(new: NewDubbing, api: Api) -> Response:
    """Speak subtitles (SRT or WebVTT) into one audio file, each cue at its time, with silence between.

    A cue that would not fit is spoken faster, up to `max_speed`; one that is too long even so delays the next, and the
    result reports it. Cues that overlap are mixed. Nothing is queued unless every cue can be spoken.
    """
    cues = await asyncio.to_thread(parse_subtitles, new.subtitles, list(new.voices))
    plan = await plan_dubbing(
        api.speech,
        cues,
        new.voice,
        new.voices,
        new.speech_options(),
        speeds=(new.min_speed, new.max_speed),
        audio_format=new.format,
    )
    return JsonResponse(dubbing_view(await api.dubbings.create(plan, priority=new.priority)), 202)


@router.get("", response_model=PageView[DubbingView])
async def list_dubbings(api: Api, limit: Limit = 50, offset: Offset = 0) -> Response:
    """List spoken subtitles, newest first."""
    return page_response(await api.dubbings.page(limit, offset), dubbing_view, limit, offset)


@router.get("/{dubbing_id}", response_model=DubbingView)
async def get_dubbing(dubbing_id: str, api: Api) -> Response:
    """Get the status of spoken subtitles; once they are completed, how each cue was spoken."""
    return JsonResponse(dubbing_view(await api.dubbings.get(dubbing_id)))


@router.delete("/{dubbing_id}", response_model=DubbingView)
async def cancel_dubbing(dubbing_id: str, api: Api) -> Response:
    """Cancel spoken subtitles. What has ended is left unchanged."""
    return JsonResponse(dubbing_view(await api.dubbings.cancel(dubbing_id)))


@router.get("/{dubbing_id}/audio", response_class=FileResponse)
async def download_dubbing(dubbing_id: str, api: Api) -> Response:
    """Download the audio file of spoken subtitles. Supports `Range`. 409 until it is ready."""
    return await speech_file(api, dubbing_id, (await api.dubbings.get(dubbing_id)).require_audio())


@router.get("/{dubbing_id}/progress", response_class=EventStream)
async def watch_dubbing(dubbing_id: str, api: Api, last_event: LastEventId = "") -> Response:
    """Stream the progress: `progress` for each sentence, then `completed`, `failed` or `cancelled`."""
    feed = dubbing_feed(api.dubbings, api.events, dubbing_id, dubbing_view)
    return await api.sse.respond(feed, last_event)


def dubbing_view(dubbing: Dubbing) -> dict[str, Any]:
    """Return spoken subtitles as the API shows them."""
    job = dubbing.job
    error = job.error if dubbing.status == "failed" else None
    view: Mapping[str, Any] = DubbingView(
        id=job.id,
        status=dubbing.status,
        progress=round(dubbing.progress, 4),
        message=localized(dubbing.message, error),
        format=dubbing.request.format,
        cues=dubbing.request.cues,
        utterances_done=dubbing.utterances_done,
        utterances_total=dubbing.utterances_total,
        priority=job.priority,
        created_at=iso(job.created_at or None),
        completed_at=iso(job.finished_at or None),
        error=localized_error(error),
        error_message=localized_message(error),
        result=_result(dubbing),
    )
    return {**view}


def _result(dubbing: Dubbing) -> DubbedAudioView | None:
    if dubbing.job.result is None:
        return None
    result = dubbing.require_audio()
    return {
        "download_url": external_path(f"/api/v1/inference/subtitles/{dubbing.job.id}/audio"),
        "format": result["format"],
        "media_type": result["media_type"],
        "sample_rate": result["sample_rate"],
        "seconds": result["seconds"],
        "size_bytes": result["size_bytes"],
        "sha256": result["sha256"],
        "cues": result["cues"],
        "fits": sum(cue["fits"] for cue in result["cues"]),
    }
