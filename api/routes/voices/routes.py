"""Voices: listed, created of checkpoints, changed, with their prompts."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from api.dependencies import Api, Cursor, Limit, Offset
from api.http.access import VOICES
from api.http.responses import JsonResponse, stored_file_response
from api.http.schemas import PageView, page_response
from api.routes.voices.views import (
    CreatePromptBody,
    CreateVoiceBody,
    PromptChange,
    VoiceChange,
    VoiceView,
    voice_view,
)
from api.services.voices import PromptChangeRequest, VoiceChangeRequest
from core.errors import NotFound

router = APIRouter(
    prefix="/voices",
    tags=["Voices"],
    dependencies=[VOICES],
)


@router.get("", response_model=PageView[VoiceView])
async def list_voices(api: Api, limit: Limit = 50, offset: Offset = 0, cursor: Cursor = "") -> Response:
    """List voices, newest first."""
    page = await api.records.voices.page(limit, offset, cursor=cursor)
    return page_response(page, voice_view, limit, offset, cursors=True)


@router.post("", status_code=201, response_model=VoiceView)
async def create_voice(new: CreateVoiceBody, api: Api) -> Response:
    """Create a voice of two checkpoints and its prompts; it is ready to speak at once.

    409 when the name is taken, 422 when the checkpoints are of different model families. A prompt lasts 3 to 10 s,
    with nano 1 to 30 s.
    """
    return JsonResponse(voice_view(await api.voices.create(new.request())), 201)


@router.get("/{voice}", response_model=VoiceView)
async def get_voice(voice: str, api: Api) -> Response:
    """Get a voice by its id or its exact name."""
    return JsonResponse(voice_view(await api.records.voices.get(voice)))


@router.patch("/{voice}", response_model=VoiceView)
async def change_voice(voice: str, change: VoiceChange, api: Api) -> Response:
    """Change the name (409 when it is taken), language, pronunciations, default prompt or checkpoints of a voice."""
    return JsonResponse(voice_view(await api.voices.change(voice, VoiceChangeRequest(**change.model_dump()))))


@router.delete("/{voice}", status_code=204)
async def delete_voice(voice: str, api: Api) -> Response:
    """Delete a voice and its prompts. Its checkpoints are kept."""
    await api.voices.delete(voice)
    return Response(status_code=204)


@router.post("/{voice}/prompts", status_code=201, response_model=VoiceView)
async def add_prompt(voice: str, new: CreatePromptBody, api: Api) -> Response:
    """Add a prompt, whose speaking style a speech request selects with `emotion`. 409 when its name is taken."""
    return JsonResponse(voice_view(await api.voices.add_prompt(voice, new.request())), 201)


@router.patch("/{voice}/prompts/{prompt}", response_model=VoiceView)
async def change_prompt(voice: str, prompt: str, change: PromptChange, api: Api) -> Response:
    """Correct the name, the transcript or the language of a prompt."""
    changes = PromptChangeRequest(**change.model_dump())
    return JsonResponse(voice_view(await api.voices.change_prompt(voice, prompt, changes)))


@router.delete("/{voice}/prompts/{prompt}", status_code=204)
async def delete_prompt(voice: str, prompt: str, api: Api) -> Response:
    """Delete a prompt. 409 for the last prompt of a voice."""
    await api.voices.delete_prompt(voice, prompt)
    return Response(status_code=204)


@router.get("/{voice}/prompts/{prompt}/audio", response_class=FileResponse)
async def prompt_audio(voice: str, prompt: str, api: Api) -> Response:
    """Download the recording of a prompt as a WAV. Supports `Range`."""
    record = (await api.records.voices.get(voice)).prompt_named(prompt)
    return await stored_file_response(
        api.storage,
        str(record["audio"]),
        "audio/wav",
        missing=NotFound(f"The recording of the prompt {prompt!r} is gone.", hint="Add it again under another name."),
    )
