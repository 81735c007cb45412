"""Speech for upstream's clients: from read fields to a response."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from fastapi import Request, Response

from api.dependencies import ApiServices
from api.dialects.upstream.audio import file_response, streamed_response
from api.dialects.upstream.errors import BadField, RequestFailed
from api.dialects.upstream.fields import TtsRequest, Values, read_tts
from api.dialects.upstream.selection import UpstreamText, caller_identity, speech_request, spoken_version
from api.services.audio_chunks import AudioChunk
from api.services.caller_sessions import CallerSession
from api.services.whole_speech import audio_or_silence, utterances_of
from core.errors import SovitsError
from core.speech.requests import SpeechRequest

FAILURE: Final = "tts failed"
BY_SENTENCE: Final = 1
"""The streaming mode that sends whole sentences; 2 and 3 send what there is."""


async def read_request(api: ApiServices, session: CallerSession, values: Values) -> TtsRequest:
    """Read the fields of /tts; what they leave out and the caller has chosen is that."""

    async def version_of(reference: str) -> str:
        return await spoken_version(api, session, reference)

    return await read_tts(values, version_of)


async def tts_response(api: ApiServices, request: Request, values: Values) -> Response:
    """Answer a request of /tts."""
    session = await api.sessions.get(caller_identity(request))
    tts = await read_request(api, session, values)
    audio = await speech_audio(api, session, tts_text(tts))
    try:
        if tts.streaming_mode == 0:
            return await file_response(request, audio, tts.media_type, api.speech.marks)
        if tts.streaming_mode == BY_SENTENCE:
            audio = utterances_of(audio)
        return await streamed_response(request, audio, tts.media_type, chained=True)
    except SovitsError as error:
        raise RequestFailed(FAILURE, error) from None


def tts_text(tts: TtsRequest) -> UpstreamText:
    """Return what is spoken, and how."""
    return UpstreamText(
        text=tts.text,
        language=tts.language,
        reference=tts.reference,
        reference_text=tts.reference_text,
        reference_language=tts.reference_language,
        extra_references=tts.extra_references,
        split_method=tts.split_method,
        numbers=tts.numbers,
    )


async def speech_audio(
    api: ApiServices, session: CallerSession, item: UpstreamText
) -> AsyncGenerator[AudioChunk, None]:
    """Return the samples of a text that was checked; RequestFailed when it cannot be spoken."""
    try:
        request = await speech_request(api, session, item)
        await api.speech.check_ready()
    except BadField:
        raise
    except SovitsError as error:
        raise RequestFailed(FAILURE, error) from None
    return _counted(api, request)


async def _counted(api: ApiServices, request: SpeechRequest) -> AsyncGenerator[AudioChunk, None]:
    """Yield the samples, with a pause after the last sentence, too: clients join what they get of several requests."""
    seconds = api.metrics.speech_seconds.labels("upstream")
    chunk = None
    async with aclosing(audio_or_silence(api.speech, request)) as chunks:
        async for chunk in chunks:
            seconds.inc(len(chunk.samples) / 2 / chunk.sample_rate)
            yield chunk
    if chunk is not None and (pause := request.sampling.pause_seconds):
        yield replace(chunk, samples=bytes(2 * round(pause * chunk.sample_rate)), words=(), marks=())
