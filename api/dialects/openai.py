"""OpenAI's speech API: `POST /v1/audio/speech`, and the two lists that its clients ask for."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from api.dependencies import Api, Services, require_key
from api.http.disconnect import while_connected
from api.http.errors import openai_body
from api.http.responses import Json, Streaming
from api.http.sse import EventStream, data_only
from api.services.encoding import Format, SoundEncoder, media_type, new_encoder
from core.errors import EmptyText, NotFound, SovitsError, TextTooLong, VoiceNotFound
from core.records import VoiceRecord
from core.speech.requests import InputType, SpeechRequest

router = APIRouter(prefix="/v1", tags=["OpenAI"], dependencies=[Depends(require_key)])

MAX_INPUT: Final = 4096
MODEL: Final = "nano"
_MODEL_CREATED: Final = 1_700_000_000
_CHARACTERS_PER_TOKEN: Final = 4
"""The bill of OpenAI's own models, in round numbers: clients show it, nobody pays it here."""


class VoiceId(BaseModel):
    """A voice by its id."""

    id: str


class SpeechBody(BaseModel):
    """What OpenAI's clients send; fields that are not named here are ignored."""

    model: str = Field(MODEL, description="Taken and ignored: the voice decides the model.")
    input: str = Field(description=f"The text, up to {MAX_INPUT} characters.")
    voice: str | VoiceId | None = Field(None, description="Name or id; without one, the newest voice speaks.")
    response_format: Format = "mp3"
    speed: float = Field(1.0, ge=0.25, le=4.0)
    stream_format: Literal["audio", "sse"] = "audio"
    instructions: str | None = Field(None, description="Taken and ignored.")
    language: str = Field("auto", description="Our own addition.")
    seed: int | None = Field(None, description="Our own addition: the same seed, the same sound.")
    emotion: str = Field("", max_length=100, description="Our own addition: which of the voice's prompts.")
    input_type: InputType = Field(
        "auto",
        description="Our own addition: auto (SSML where the input begins with <speak, else marks), text, marks, ssml.",
    )
    pronunciations: dict[str, str] | None = Field(
        None, description="Our own addition: word → reading, before those of the voice."
    )


@router.post("/audio/speech", response_class=Streaming)
async def create_speech(body: SpeechBody, request: Request, api: Api) -> Response:
    """Speak a text; the sound is sent as it is made."""
    _check_input(body.input)
    voice = await _voice(api, body.voice)
    speech = await api.speech.request(
        body.input,
        voice.id,
        language=body.language,
        speed=body.speed,
        seed=body.seed,
        prompt_name=body.emotion,
        input_type=body.input_type,
        pronunciations=body.pronunciations,
    )
    await api.speech.check_ready()
    sound = _encoded(api, speech, body.response_format)
    # The status can only tell of an error before the first byte: wait for that.
    first = await while_connected(request, _first_chunk(sound))
    if body.stream_format == "sse":
        return EventStream(_as_events(first, sound, body.input))
    return Streaming(_chain(first, sound), media_type=media_type(body.response_format))


@router.get("/audio/voices")
async def list_voices(api: Api) -> Response:
    """The published voices."""
    voices = await all_voices(api)
    return Json({"voices": [{"id": one.id, "name": one.name, "language": one.language} for one in voices]})


@router.get("/models")
async def list_models() -> Response:
    """One model: which weights speak, the voice decides."""
    return Json({"object": "list", "data": [_model(MODEL)]})


@router.get("/models/{model}")
async def get_model(model: str) -> Response:
    """The model of that name."""
    if model != MODEL:
        raise NotFound(f"No model is named {model!r}.", hint=f"There is {MODEL!r}.", details={"param": "model"})
    return Json(_model(model))


async def all_voices(api: Services) -> list[VoiceRecord]:
    """Every published voice, newest first."""
    found: list[VoiceRecord] = []
    while True:
        page = await api.records.voices.page(limit=500, offset=len(found))
        found += page.items
        if not page.items or len(found) >= page.total:
            return found


def _check_input(text: str) -> None:
    if not text.strip():
        raise EmptyText("The input is empty.", hint="Send at least one word.", details={"param": "input"})
    if len(text) > MAX_INPUT:
        raise TextTooLong(
            f"The input has {len(text):,} characters; {MAX_INPUT:,} is the most.", details={"param": "input"}
        )


async def _voice(api: Services, asked: str | VoiceId | None) -> VoiceRecord:
    if asked is None:
        page = await api.records.voices.page(limit=1)
        if not page.items:
            raise VoiceNotFound("No voice is published yet.", hint="Train one first: POST /api/v1/tasks.")
        return page.items[0]
    try:
        return await api.records.voices.get(asked if isinstance(asked, str) else asked.id)
    except VoiceNotFound as error:
        raise VoiceNotFound(error.message, hint=error.hint, details={"param": "voice"}) from None


async def _encoded(api: Services, speech: SpeechRequest, kind: Format) -> AsyncGenerator[bytes, None]:
    """The sound in the asked format, each utterance as soon as it is spoken."""
    encoder: SoundEncoder | None = None
    spoken = api.metrics.spoken.labels("openai")
    async with aclosing(api.speech.sound(speech)) as pieces:
        async for piece in pieces:
            if encoder is None:
                encoder = await asyncio.to_thread(new_encoder, kind, piece.sample_rate)
            chunk = await asyncio.to_thread(encoder.feed, piece.samples)
            spoken.inc(len(piece.samples) / 2 / piece.sample_rate)
            if chunk:
                yield chunk
    if encoder is not None and (rest := await asyncio.to_thread(encoder.finish)):
        yield rest


async def _first_chunk(sound: AsyncGenerator[bytes, None]) -> bytes:
    async for chunk in sound:
        return chunk
    return b""


async def _chain(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk


async def _as_events(first: bytes, rest: AsyncGenerator[bytes, None], text: str) -> AsyncGenerator[bytes, None]:
    """OpenAI's events; an error after the first one is an event, too, as the status has been sent."""
    try:
        async with aclosing(_chain(first, rest)) as chunks:
            async for chunk in chunks:
                yield data_only({"type": "speech.audio.delta", "audio": base64.b64encode(chunk).decode()})
    except SovitsError as error:
        yield data_only({"type": "error", **openai_body(error, error.status)})
        return
    tokens = -(-len(text) // _CHARACTERS_PER_TOKEN)
    usage = {"input_tokens": tokens, "output_tokens": 0, "total_tokens": tokens}
    yield data_only({"type": "speech.audio.done", "usage": usage})


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _MODEL_CREATED, "owned_by": "sovitsd"}
