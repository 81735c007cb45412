"""The media types of upstream's responses, as one file or as a stream of chunks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from fastapi import Request, Response

from api.http.disconnect import while_connected
from api.http.responses import ClosingStreamingResponse
from api.services.audio_chunks import AudioChunk
from api.services.encoding import (
    SAMPLE_RATE_HEADER,
    AudioEncoder,
    RawEncoder,
    feed_encoder,
    finish_encoder,
    label_headers,
)
from api.services.whole_speech import whole_audio
from common.audio_formats import MEDIA_TYPES
from core.marks.speech_label import SpeechLabel, tags_of
from core.marks.speech_marks import SpeechMarks

AAC_BIT_RATE: Final = 192_000
CONTENT_TYPES: Final = {
    **{media_type: f"audio/{media_type}" for media_type in ("wav", "raw", "ogg", "aac")},
    "mp3": MEDIA_TYPES["mp3"],
    "flac": MEDIA_TYPES["flac"],
}


class StreamedWav:
    """Upstream's streamed WAV: a header whose data size is 0, then samples."""

    def __init__(self, sample_rate: int) -> None:
        from core.media.encode import wav_header

        self._header = wav_header(sample_rate, 0)

    def feed(self, samples: bytes) -> bytes:
        """Return the samples, the first ones behind the header."""
        header, self._header = self._header, b""
        return header + samples

    def finish(self) -> bytes:
        """Return the header where there were no samples."""
        return self.feed(b"")


def new_upstream_encoder(media_type: str, sample_rate: int, label: SpeechLabel | None) -> AudioEncoder:
    """Create an encoder for a stream of samples at this rate in Hz. The first call blocks while libraries load."""
    if media_type == "raw":
        return RawEncoder()
    if media_type == "wav":
        return StreamedWav(sample_rate)
    if media_type == "ogg":
        from core.media.vorbis import VorbisEncoder

        return VorbisEncoder(sample_rate, tags_of(label))
    from core.media.encode import Encoder

    bit_rate = AAC_BIT_RATE if media_type == "aac" else None
    return Encoder(media_type, sample_rate, bit_rate=bit_rate, tags=tags_of(label))


async def file_response(
    request: Request,
    audio: AsyncGenerator[AudioChunk, None],
    media_type: str,
    marks: SpeechMarks,
    *,
    as_stream: bool = False,
) -> Response:
    """Return the whole speech as one file; a WAV has true sizes. `as_stream`: without saying its length before."""
    whole = await while_connected(request, whole_audio(audio))
    content = await asyncio.to_thread(_encode_file, whole, media_type)
    content = await asyncio.to_thread(marks.finish, content, media_type, whole.label)
    headers = _headers(whole, media_type)
    if as_stream:
        return ClosingStreamingResponse(_single(content), headers=headers, media_type=CONTENT_TYPES[media_type])
    return Response(content, headers=headers, media_type=CONTENT_TYPES[media_type])


async def streamed_response(
    request: Request, audio: AsyncGenerator[AudioChunk, None], media_type: str, *, chained: bool
) -> Response:
    """Return the speech as it is made; the response begins with its first bytes, so that an error has its status.

    `chained`: every chunk of `ogg` is a file of its own, one after another, as upstream sends them.
    """
    first_chunk = await while_connected(request, anext(audio, None))
    chunks = _chunks(first_chunk, audio)
    encoded = _encode_files(chunks, media_type) if chained and media_type == "ogg" else _encode(chunks, media_type)
    first = await while_connected(request, anext(encoded, b""))
    headers = _headers(first_chunk, media_type)
    return ClosingStreamingResponse(_chain(first, encoded), headers=headers, media_type=CONTENT_TYPES[media_type])


def _headers(chunk: AudioChunk | None, media_type: str) -> dict[str, str]:
    """Return the headers that say what the audio does not."""
    if chunk is None:
        return {}
    rate = {SAMPLE_RATE_HEADER: str(chunk.sample_rate)} if media_type == "raw" else {}
    return {**label_headers(chunk.label), **rate}


async def _chunks(first: AudioChunk | None, rest: AsyncGenerator[AudioChunk, None]) -> AsyncGenerator[AudioChunk, None]:
    async with aclosing(rest):
        if first is not None:
            yield first
        async for chunk in rest:
            yield chunk


def _encode_file(whole: AudioChunk, media_type: str) -> bytes:
    if media_type == "wav":
        from core.media.encode import wav_file

        return wav_file(whole.samples, whole.sample_rate, tags_of(whole.label))
    encoder = new_upstream_encoder(media_type, whole.sample_rate, whole.label)
    return encoder.feed(whole.samples) + encoder.finish()


async def _encode(audio: AsyncGenerator[AudioChunk, None], media_type: str) -> AsyncGenerator[bytes, None]:
    encoder: AudioEncoder | None = None
    async with aclosing(audio) as chunks:
        async for chunk in chunks:
            if encoder is None:
                encoder = await asyncio.to_thread(new_upstream_encoder, media_type, chunk.sample_rate, chunk.label)
            if data := await feed_encoder(encoder, chunk.samples):
                yield data
    if encoder is not None and (rest := await finish_encoder(encoder)):
        yield rest


async def _encode_files(audio: AsyncGenerator[AudioChunk, None], media_type: str) -> AsyncGenerator[bytes, None]:
    async with aclosing(audio) as chunks:
        async for chunk in chunks:
            if chunk.samples:
                yield await asyncio.to_thread(_encode_file, chunk, media_type)


async def _single(content: bytes) -> AsyncGenerator[bytes, None]:
    yield content


async def _chain(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk
