"""OpenAI's speech API: `POST /v1/audio/speech`, and the lists of voices and models that its clients request."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated, Final, Literal, NamedTuple
from urllib.parse import quote

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from api.dependencies import Api, ApiServices
from api.http.access import PUBLIC, SPEAKING
from api.http.disconnect import while_connected
from api.http.request_context import warn_caller
from api.http.responses import ClosingStreamingResponse, JsonResponse
from api.http.sse import EventStream, encode_data
from api.services.audio_chunks import AudioChunk
from api.services.encoding import SAMPLE_RATE_HEADER, feed_encoder, finish_encoder, label_headers, open_encoder
from api.services.speech_fields import SpeechFields
from api.services.whole_speech import SILENCE_RATE, audio_or_silence, whole_audio
from common.audio_formats import MEDIA_TYPES, StreamFormat
from core.errors import EmptyText, InvalidRequest, SovitsError, TextTooLong, VoiceNotFound
from core.marks.speech_label import tags_of
from core.records import VoiceRecord
from core.speech.requests import MarkTiming, SpeechRequest
from core.speech.verification import VerifiedUtterance, summarize_verified
from core.speech.words import WordTiming
from core.voices.prompt_choice import choose_prompt

router = APIRouter(
    prefix="/v1",
    tags=["OpenAI"],
    dependencies=[SPEAKING],
)
public_router = APIRouter(
    prefix="/v1",
    tags=["OpenAI"],
    dependencies=[PUBLIC],
)

MAX_INPUT_CHARACTERS: Final = 4096
MODEL: Final = "nano"
OPENAI_MODELS: Final = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
"""Models that clients choose from; as every model, they speak with the model of the voice."""
PROMPT_HEADER: Final = "X-Voice-Prompt"
"""The prompt that instructions chose; percent-encoded, as names may have any character."""
STREAMED_HEADER: Final = "x-stainless-raw-response"
"""OpenAI's own clients say in it whether they stream the response."""
_MODEL_CREATED: Final = 1_700_000_000
_CHARACTERS_PER_TOKEN: Final = 4
"""A rough count of tokens, which clients display; nothing is charged here."""


class OpenAIErrors:
    """OpenAI's error format: `{"error": {message, type, param, code}}`."""

    schema_name = "OpenAIError"
    schema: Mapping[str, object] = {
        "title": "OpenAIError",
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "param", "code"],
                "properties": {
                    "message": {"type": "string"},
                    "type": {"type": "string"},
                    "param": {"type": ["string", "null"]},
                    "code": {"type": "string"},
                },
            }
        },
    }

    def applies_to(self, path: str) -> bool:
        """Return whether the path belongs to OpenAI's API."""
        return path.startswith("/v1/")

    def status(self, error: SovitsError, status: int, path: str) -> int:
        """Return 400 for 422, which OpenAI does not use."""
        return 400 if status == 422 else status

    def body(self, error: SovitsError, status: int) -> Mapping[str, object]:
        """Return the error with its hint appended to the message."""
        kind = "server_error" if status >= 500 else "authentication_error" if status == 401 else "invalid_request_error"
        return {
            "error": {"message": error.sentences, "type": kind, "param": error.details.get("param"), "code": error.code}
        }


class VoiceId(BaseModel):
    """A voice by its id."""

    id: str


class SpeechBody(SpeechFields):
    """A request of OpenAI's clients. Unknown fields are ignored; what its API does not have is an extension."""

    model: str = Field(MODEL, description="Accepted and ignored: the voice determines the model.")
    input: str = Field(description=f"The text, up to {MAX_INPUT_CHARACTERS} characters.")
    voice: str | VoiceId | None = Field(
        None,
        description="Name or id of a voice; the names of OpenAI's voices are spoken by the default voice. "
        "Default: DEFAULT_VOICE, else the newest voice.",
    )
    response_format: StreamFormat = Field(
        "mp3", description="`pcm_mulaw` and `pcm_alaw` are an extension: G.711 at 8 kHz, for telephony."
    )
    stream_format: Literal["audio", "sse"] = "audio"
    instructions: str | None = Field(
        None,
        max_length=MAX_INPUT_CHARACTERS,
        description="How to speak, such as `cheerful`: chooses the voice's prompt whose name or description suits it "
        "best, which the header `X-Voice-Prompt` and the first event name. Not beside `emotion`, which names one.",
    )


class EncodedAudio(NamedTuple):
    """Bytes of an audio file, the words that end in them, and the marks of the utterances that do."""

    data: bytes
    words: tuple[WordTiming, ...] = ()
    verified: tuple[VerifiedUtterance, ...] = ()
    """Utterances that end in them, where they were verified."""
    marks: tuple[MarkTiming, ...] = ()
    voice_id: str = ""
    """Of the voice that speaks at their end."""


class PromptChoice(TypedDict):
    """The prompt of the voice that instructions chose."""

    name: str
    matched: bool
    """Whether it suits them; the default one where none does."""


class OpenAIModel(TypedDict):
    """A model in OpenAI's format."""

    id: str
    object: str
    created: int
    owned_by: str


class OpenAIModels(TypedDict):
    """OpenAI's list of models."""

    object: str
    data: list[OpenAIModel]


class SpeechVoice(TypedDict):
    """A voice that a client lets its users choose."""

    id: str
    name: str
    language: str


class SpeechVoices(TypedDict):
    """The voices that the caller may use."""

    voices: list[SpeechVoice]


class SpeechModel(TypedDict):
    """A model that a client lets its users choose."""

    id: str
    name: str


class SpeechModels(TypedDict):
    """The names that `model` is given by clients."""

    models: list[SpeechModel]


@router.post("/audio/speech", response_class=ClosingStreamingResponse)
async def create_speech(body: SpeechBody, request: Request, api: Api) -> Response:
    """Synthesize a text and stream the audio while it is made, as bytes or (`stream_format: sse`) as events.

    A `wav` is sent when it is complete, with true sizes in its header, unless `stream_format` is sent, or OpenAI's own
    client streams the response. 503 while no synthesizer is running.
    """
    if not body.input.strip():
        raise EmptyText("The input is empty.", hint="Send at least one word.", details={"param": "input"})
    if len(body.input) > MAX_INPUT_CHARACTERS:
        raise TextTooLong(
            f"The input has {len(body.input):,} characters; {MAX_INPUT_CHARACTERS:,} is the most.",
            details={"param": "input"},
        )
    if body.timestamps and body.stream_format != "sse":
        raise InvalidRequest(
            "Audio alone has no room for timestamps.",
            hint="Set stream_format to sse, or create an inference, whose subtitles can be downloaded.",
            details={"param": "timestamps"},
        )
    voice = await _find_voice(api, body)
    prompt = _instructed_prompt(voice, body)
    default_rate = api.settings.openai_pcm_sample_rate if body.response_format == "pcm" else 0
    options = body.speech_options(default_rate=default_rate)
    if prompt is not None:
        options = replace(options, prompt_name=prompt["name"])
    speech = await api.speech.request(body.input, voice, options)
    await api.speech.check_ready()
    prompt_header = {} if prompt is None else {PROMPT_HEADER: quote(prompt["name"])}
    if body.response_format == "wav" and not _streams(body, request):
        whole = await while_connected(request, whole_audio(_counted(api, speech, whole=True)))
        content = await asyncio.to_thread(_wav_file, api, whole)
        headers = {**label_headers(whole.label), **prompt_header}
        return Response(content, headers=headers, media_type=MEDIA_TYPES["wav"])
    chunks = _counted(api, speech)
    # The status can report an error only before the first byte, so that is waited for.
    first_chunk = await while_connected(request, anext(chunks, AudioChunk(b"", SILENCE_RATE, last=True)))
    audio = _encode(first_chunk, chunks, body.response_format)
    first = await while_connected(request, anext(audio, EncodedAudio(b"")))
    headers = {**label_headers(first_chunk.label), **prompt_header}
    if body.stream_format == "sse":
        extensions: dict[str, object] = {} if first_chunk.label is None else {"aigc": first_chunk.label.fields}
        if prompt is not None:
            extensions["prompt"] = prompt
        return EventStream(_encode_events(first, audio, body.input, extensions), headers=headers)
    if body.response_format == "pcm":
        headers[SAMPLE_RATE_HEADER] = str(first_chunk.sample_rate)
    return ClosingStreamingResponse(_bytes(first, audio), 200, headers, MEDIA_TYPES[body.response_format])


@public_router.get("/audio/voices", response_model=SpeechVoices)
async def list_voices(api: Api) -> Response:
    """List all voices that the caller may see; without a key where keys exist, the shared ones."""
    voices = await api.voices.list_all()
    return JsonResponse(
        {"voices": [{"id": voice.id, "name": voice.name, "language": voice.language} for voice in voices]}
    )


@public_router.get("/audio/models", response_model=SpeechModels)
async def list_speech_models() -> Response:
    """List the names of models for clients that let their users choose one; no key is needed."""
    return JsonResponse({"models": [{"id": name, "name": name} for name in (MODEL, *OPENAI_MODELS)]})


@router.get("/models", response_model=OpenAIModels)
async def list_models() -> Response:
    """List the names of models. Which checkpoints are used depends on the voice."""
    return JsonResponse({"object": "list", "data": [_model(name) for name in (MODEL, *OPENAI_MODELS)]})


@router.get("/models/{model}", response_model=OpenAIModel)
async def get_model(model: Annotated[str, Path(max_length=200)]) -> Response:
    """Get a model by its name; any name is one, since the voice determines the checkpoints."""
    return JsonResponse(_model(model))


def _streams(body: SpeechBody, request: Request) -> bool:
    """Return whether the client reads the audio while it is made, as far as it says so."""
    return "stream_format" in body.model_fields_set or request.headers.get(STREAMED_HEADER) == "stream"


async def _find_voice(api: ApiServices, body: SpeechBody) -> VoiceRecord:
    """Return the voice of a request, by default the newest one."""
    if body.voice is None:
        return await api.speech.voices.newest(body.input, body.language)
    name = body.voice if isinstance(body.voice, str) else body.voice.id
    try:
        return await api.speech.voices.find(name, body.input, body.language)
    except VoiceNotFound as error:
        raise VoiceNotFound(error.message, hint=error.hint, details={"param": "voice"}) from None


def _instructed_prompt(voice: VoiceRecord, body: SpeechBody) -> PromptChoice | None:
    """Return the prompt that instructions choose, its default where none suits them; None without instructions.

    Where none suits them, a warning says so.
    """
    if not (body.instructions and body.instructions.strip()):
        return None
    if body.emotion:
        warn_caller("instructions_not_followed; emotion names the prompt")
        return PromptChoice(name=str(voice.prompt_named(body.emotion).get("name", "")), matched=False)
    prompt = choose_prompt(voice.prompts, body.instructions)
    if prompt is None:
        warn_caller("instructions_not_followed; no prompt of the voice suits them")
    return PromptChoice(name=str((prompt or voice.prompt).get("name", "")), matched=prompt is not None)


async def _counted(api: ApiServices, speech: SpeechRequest, *, whole: bool = False) -> AsyncGenerator[AudioChunk, None]:
    """Yield the samples of a text, and count their seconds."""
    seconds = api.metrics.speech_seconds.labels("openai")
    async with aclosing(audio_or_silence(api.speech, speech, whole=whole)) as chunks:
        async for chunk in chunks:
            seconds.inc(len(chunk.samples) / 2 / chunk.sample_rate)
            yield chunk


async def _encode(
    first: AudioChunk, rest: AsyncGenerator[AudioChunk, None], audio_format: StreamFormat
) -> AsyncGenerator[EncodedAudio, None]:
    """Yield the bytes of the audio file with the words that end in them, those of each chunk as soon as it is ready."""
    async with aclosing(rest):
        encoder = await open_encoder(audio_format, first.sample_rate, first.label)
        words, marks = first.words, first.marks
        verified: tuple[VerifiedUtterance, ...] = (first.verified,) if first.verified else ()
        if encoded := await feed_encoder(encoder, first.samples):
            yield EncodedAudio(encoded, words, verified, marks, first.voice_id)
            words, verified, marks = (), (), ()
        voice_id = first.voice_id
        async for chunk in rest:
            voice_id = chunk.voice_id or voice_id
            words += chunk.words
            marks += chunk.marks
            if chunk.verified:
                verified += (chunk.verified,)
            if (encoded := await feed_encoder(encoder, chunk.samples)) or marks:
                yield EncodedAudio(encoded, words, verified, marks, voice_id)
                words, verified, marks = (), (), ()
        last = await finish_encoder(encoder)
        if last or words or verified:
            yield EncodedAudio(last, words, verified, voice_id=voice_id)


def _wav_file(api: ApiServices, whole: AudioChunk) -> bytes:
    from core.media.encode import wav_file  # with its libraries, which the process serves without

    content = wav_file(whole.samples, whole.sample_rate, tags_of(whole.label))
    return api.speech.marks.finish(content, "wav", whole.label)


async def _bytes(first: EncodedAudio, rest: AsyncGenerator[EncodedAudio, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(rest):
        yield first.data
        async for part in rest:
            if part.data:
                yield part.data


async def _encode_events(
    first: EncodedAudio, rest: AsyncGenerator[EncodedAudio, None], text: str, extensions: Mapping[str, object]
) -> AsyncGenerator[bytes, None]:
    """Yield OpenAI's events, with extensions: `voice_id`, `words`, `marks`, `verified`, and of the whole in the first.

    An error after the first one becomes an event, too, as the status has been sent.
    """
    verified = [*first.verified]
    try:
        async with aclosing(rest):
            yield encode_data({**_delta(first), **extensions})
            async for part in rest:
                verified += part.verified
                yield encode_data(_delta(part))
    except SovitsError as error:
        yield encode_data({"type": "error", **OpenAIErrors().body(error, error.status)})
        return
    tokens = -(-len(text) // _CHARACTERS_PER_TOKEN)
    usage = {"input_tokens": tokens, "output_tokens": 0, "total_tokens": tokens}
    summary = {"verification": summarize_verified(verified)} if verified else {}
    yield encode_data({"type": "speech.audio.done", "usage": usage, **summary})


def _delta(part: EncodedAudio) -> dict[str, object]:
    delta: dict[str, object] = {"type": "speech.audio.delta", "audio": base64.b64encode(part.data).decode()}
    extensions = {"voice_id": part.voice_id, "words": part.words, "verified": part.verified, "marks": part.marks}
    return delta | {name: value for name, value in extensions.items() if value}


def _model(name: str) -> OpenAIModel:
    return {"id": name, "object": "model", "created": _MODEL_CREATED, "owned_by": "sovitsd"}
