"""Voices: what was published and can speak."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from api.dependencies import Api, Limit, Offset
from api.responses import Json
from core.errors import InvalidRequest
from core.records import VoiceRecord, iso
from core.speech import check_pronunciations

router = APIRouter(prefix="/voices", tags=["Voices"])


class PromptView(TypedDict):
    """A reference recording of a voice."""

    name: str
    text: str
    language: str


class VoiceView(TypedDict):
    """A voice."""

    id: str
    name: str
    version: str
    language: str
    prompts: list[PromptView]
    pronunciations: dict[str, str]
    gpt_checkpoint_id: str
    sovits_checkpoint_id: str
    exp_id: str | None
    created_at: str | None


class VoicePage(TypedDict):
    items: list[VoiceView]
    total: int
    limit: int
    offset: int


class VoiceChange(BaseModel):
    """What can be changed of a voice."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, min_length=1, max_length=100)
    pronunciations: dict[str, str] | None = Field(None, description="Word → reading; in place of all that it had.")


@router.get("", response_model=VoicePage)
async def list_voices(api: Api, limit: Limit = 50, offset: Offset = 0) -> Response:
    """The published voices, newest first."""
    page = await api.records.list_voices(limit, offset)
    return Json(
        {
            "items": [voice_view(one) for one in page.items],
            "total": page.total,
            "limit": limit,
            "offset": offset,
        }
    )


@router.get("/{voice}", response_model=VoiceView)
async def get_voice(voice: str, api: Api) -> Response:
    """One voice, by id or by its exact name."""
    return Json(voice_view(await api.records.get_voice(voice)))


@router.patch("/{voice}", response_model=VoiceView)
async def change_voice(voice: str, change: VoiceChange, api: Api) -> Response:
    """Give a voice another name (409 when it is taken) or another dictionary of pronunciations."""
    if change.name is not None and not change.name.strip():
        raise InvalidRequest("A voice's name needs a visible character.")
    values = change.model_dump(exclude_none=True)
    if not values:
        raise InvalidRequest("Nothing is to be changed.", hint="Send `name`, `pronunciations` or both.")
    check_pronunciations(change.pronunciations or {})
    found = await api.records.get_voice(voice)
    return Json(voice_view(await api.records.update_voice(found.id, **values)))


@router.delete("/{voice}", status_code=204)
async def delete_voice(voice: str, api: Api) -> Response:
    """Delete a voice; the checkpoints that it was made of stay."""
    record = await api.records.delete_voice(voice)
    await asyncio.to_thread(api.storage.delete_folder, f"voices/{record.id}")
    return Response(status_code=204)


def voice_view(voice: VoiceRecord) -> VoiceView:
    return {
        "id": voice.id,
        "name": voice.name,
        "version": voice.version,
        "language": voice.language,
        "prompts": [
            {
                "name": str(prompt.get("name", "")),
                "text": str(prompt.get("text", "")),
                "language": str(prompt.get("language", "")),
            }
            for prompt in voice.prompts
        ],
        "pronunciations": voice.pronunciations,
        "gpt_checkpoint_id": voice.gpt_checkpoint_id,
        "sovits_checkpoint_id": voice.sovits_checkpoint_id,
        "exp_id": voice.exp_id,
        "created_at": iso(voice.created_at),
    }
