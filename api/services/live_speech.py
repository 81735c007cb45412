"""Speech while it is made: the utterances of one text are enqueued shortly before they are heard, and read in order."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final, cast

from api.services.audio_chunks import AudioChunk
from api.services.job_errors import error_from_end
from api.services.leveling import LevelPlan, leveled
from api.services.resampling import at_one_rate
from core.access import Caller, act_as, current_caller
from core.errors import JobCancelled, TimedOut
from core.jobs.chunk_streams import ChunkStream, ChunkStreams, PublishedChunk, StreamEnd
from core.jobs.job import JobStatus, NewJob, StreamPart
from core.jobs.queue import AsyncQueue
from core.jobs.roles import SYNTHESIZER
from core.logs import current_request
from core.marks.speech_marks import SpeechMarker, SpeechMarks
from core.records import NewProvenance
from core.speech.requests import UtteranceRequest, UtteranceResult
from core.speech.verification import verification_of
from core.speech.words import WordTiming, delayed, delayed_marks

PRIORITIES: Final = {StreamPart.OPENING: 7, StreamPart.CONTINUATION: 6}
"""Of speech that somebody waits for: before work in the background; the start of a text before the rest of others."""
KEEP_SECONDS: Final = 120.0
"""How long the job of an utterance is kept after its end."""
STREAM_AHEAD: Final = 2
"""Utterances that are synthesized beyond the one that is being heard."""
FILE_AHEAD: Final = 8
"""The same where nobody listens before the end."""


@dataclass(slots=True)
class _Enqueued:
    request: UtteranceRequest
    job_id: str
    stream: ChunkStream
    exists: bool = False


class LiveSpeech:
    """One text, complete or still growing, on its way to whoever listens.

    At most `ahead` utterances beyond the one that is being heard are in the queue: a slow listener fills no memory, and
    when it leaves little was synthesized in vain. The first utterance goes ahead alone.
    """

    def __init__(
        self,
        queue: AsyncQueue,
        streams: ChunkStreams,
        marks: SpeechMarks,
        speech_id: str,
        *,
        stall_seconds: float,
        ahead: int,
        levels: LevelPlan,
        rate: int = 0,
    ) -> None:
        """Begin without a text.

        Args:
            queue: Where its utterances become jobs.
            streams: What reads them.
            marks: What marks it.
            speech_id: Its id.
            stall_seconds: After so long without audio of the next utterance it is given up.
            ahead: Utterances that are synthesized beyond the one that is being heard.
            levels: What is done to its level before it is marked.
            rate: Hz of the samples; 0: those of its first utterance.
        """
        self.id = speech_id
        self.started = False
        """Whether the first audio has arrived."""
        self.ended = False
        """Whether all of it was heard."""
        self.audio_until = 0.0
        """When a listener without a break will have heard all that has arrived, by `time.monotonic`; 0 before."""
        self._queue = queue
        self._streams = streams
        self._marks = marks
        self._marker: SpeechMarker | None = None
        self._texts: list[str] = []
        self._asked_at = 0.0
        self.first_audio_seconds: float | None = None
        """From the first text to the first audio."""
        self._began_at = 0.0
        self._seconds: defaultdict[str, float] = defaultdict(float)
        """Voice → seconds of its speech that were heard."""
        self._signal_seconds = 0.0
        """Of the signal before the speech."""
        self._requests: list[UtteranceRequest] = []
        """The first utterance of each voice that was added, but for notices."""
        self._voices: set[str] = set()
        self._stall_seconds = stall_seconds
        self._ahead = ahead
        self._levels = levels
        self._rate = rate
        self._pending: deque[tuple[UtteranceRequest, int]] = deque()
        self._enqueued: deque[_Enqueued] = deque()
        self._added = 0
        self._complete = False
        self._failure: Exception | None = None
        self._caller = current_caller()
        self._request_id = current_request.get()
        self._changed = asyncio.Event()
        self._filling: asyncio.Task[None] | None = None

    @property
    def voice_ids(self) -> frozenset[str]:
        """The voices of the utterances that were added."""
        return frozenset(self._voices)

    @property
    def next_index(self) -> int:
        """The number of the utterance that is added next."""
        return self._added

    @property
    def waits_for_text(self) -> bool:
        """Whether all that was added is being heard or was heard."""
        return not self._pending and len(self._enqueued) <= 1

    def note_text(self) -> None:
        """Begin to measure the time to the first audio: there is a text."""
        self._asked_at = self._asked_at or time.monotonic()

    def add(self, utterances: Iterable[UtteranceRequest], text: str, *, characters: int = 0) -> None:
        """Add the utterances of a text at the end; `characters` count towards the caller's quota with the first."""
        self._texts.append(text)
        self.note_text()
        for utterance in utterances:
            if not utterance.notice and utterance.voice_id not in self._voices:
                self._voices.add(utterance.voice_id)
                self._requests.append(utterance)
            self._pending.append((utterance, characters))
            self._added += 1
            characters = 0
        self._fill_soon()

    def complete(self) -> None:
        """Add no more: the speech ends behind what was added."""
        self._complete = True
        self._changed.set()

    def abort(self, error: Exception) -> None:
        """Have `chunks` raise an error instead of going on."""
        self._failure = self._failure or error
        self._changed.set()
        for utterance in self._enqueued:
            utterance.stream.interrupt(error)

    async def chunks(self) -> AsyncGenerator[AudioChunk, None]:
        """Yield the samples of every utterance as they are made, with the pauses between them; call it once.

        Raises TimedOut when no audio arrives for `stall_seconds`, and the error of an utterance that failed.
        """
        # Several voices may have several rates.
        async with aclosing(leveled(at_one_rate(self._spoken(), self._rate), self._levels)) as chunks:
            async for chunk in chunks:
                samples, marker = b"", self._marker
                if chunk.samples:
                    samples, marker = await self._marked(chunk)
                self._seconds[chunk.voice_id] += len(samples) / 2 / chunk.sample_rate
                yield replace(
                    chunk,
                    samples=samples,
                    words=tuple(delayed(chunk.words, self._signal_seconds)),
                    marks=tuple(delayed_marks(chunk.marks, self._signal_seconds)),
                    label=marker.label if marker is not None else None,
                )

    async def _spoken(self) -> AsyncGenerator[AudioChunk, None]:
        """Yield the samples as they were synthesized, with the pauses; words are timed from the first one."""
        pause = seconds = 0.0
        while (utterance := await self._next_utterance()) is not None:
            request, rate, silent, begin = utterance.request, 0, True, seconds
            while not isinstance(entry := await self._read(utterance), StreamEnd):
                samples, rate = entry.samples, entry.sample_rate
                if silent:
                    samples, silent, begin = bytes(2 * round(pause * rate)) + samples, False, seconds + pause
                self._note_audio(len(samples) / 2 / rate)
                seconds += len(samples) / 2 / rate
                words = delayed(cast(list[WordTiming], entry.words), begin)
                yield _chunk(request, samples, rate, words)
            if entry.status is not JobStatus.DONE:
                raise error_from_end(utterance.job_id, entry)
            result = cast(UtteranceResult, entry.result)
            pause = result.get("pause_seconds", 0.0)
            utterance.stream.close()
            self._enqueued.popleft()
            self._fill_soon()
            words = delayed(cast(list[WordTiming], result.get("words", [])), begin)
            end = _chunk(request, b"", rate or result["sample_rate"], words)
            marks = tuple(delayed_marks(result.get("marks", ()), begin))
            yield replace(end, last=True, marks=marks, verification=verification_of(result))

    async def _marked(self, chunk: AudioChunk) -> tuple[bytes, SpeechMarker]:
        """Return the samples of a chunk with the marks of this speech, and what marked them."""
        if self._marker is None:
            self._began_at = time.time()
            self.first_audio_seconds = time.monotonic() - self._asked_at
            self._marker = await asyncio.to_thread(self._marks.begin, self._requests[0], self.id, chunk.sample_rate)
            opening = self._marker.opening()
            self._signal_seconds = len(opening) / 2 / chunk.sample_rate
            return opening + self._marker.feed(chunk.samples), self._marker
        return self._marker.feed(chunk.samples), self._marker

    def provenance(self) -> list[NewProvenance]:
        """Return the records of what was heard, one for each voice; none where nothing was."""
        if self._marker is None:
            return []
        return [
            NewProvenance(
                request_id=self.id,
                mark_id=self._marker.mark_id,
                voice_id=first.voice_id,
                gpt_checkpoint_id=first.gpt_checkpoint_id,
                sovits_checkpoint_id=first.sovits_checkpoint_id,
                time=self._began_at,
                seconds=self._seconds[first.voice_id],
                text="".join(self._texts),
                owner=self._caller.owner,
                key_id=self._caller.key_id,
            )
            for first in self._requests
            if self._seconds[first.voice_id]
        ]

    async def cancel(self) -> int:
        """Cancel what was enqueued and has not ended; return how many jobs. `chunks` must have been closed."""
        self.abort(JobCancelled("The speech was cancelled."))
        if self._filling is not None:
            await asyncio.wait({self._filling})
        for utterance in self._enqueued:
            utterance.stream.close()
            await self._queue.cancel(utterance.job_id)
        return len(self._enqueued)

    async def _next_utterance(self) -> _Enqueued | None:
        """Wait for the next utterance to be in the queue; None behind the last one."""
        while True:
            self._changed.clear()
            if self._failure is not None:
                raise self._failure
            if self._enqueued and self._enqueued[0].exists:
                return self._enqueued[0]
            if self._complete and not self._pending and not self._enqueued:
                self.ended = True
                return None
            await self._changed.wait()

    async def _read(self, utterance: _Enqueued) -> PublishedChunk | StreamEnd:
        try:
            return await utterance.stream.read(self._stall_seconds)
        except TimedOut:
            raise TimedOut(
                f"No audio was ready for {self._stall_seconds:g} s, so the speech was cancelled.",
                details={"job_id": self.id},
            ) from None

    def _note_audio(self, seconds: float) -> None:
        self.audio_until = max(self.audio_until, time.monotonic()) + seconds
        if not self.started:
            self.started = True
            self._fill_soon()

    def _fill_soon(self) -> None:
        if self._filling is None or self._filling.done():
            self._filling = asyncio.create_task(self._fill())

    async def _fill(self) -> None:
        """Enqueue what may be synthesized now."""
        try:
            while self._pending and self._failure is None:
                if len(self._enqueued) >= (1 + self._ahead if self.started else 1):
                    return
                await self._enqueue_next()
                self._changed.set()
        except Exception as error:  # the listener gets it
            self._failure = error
        finally:
            self._changed.set()

    async def _enqueue_next(self) -> None:
        request, characters = self._pending[0]
        part = StreamPart.CONTINUATION if self.started else StreamPart.OPENING
        job_id = f"{self.id}.{request.index}"
        utterance = _Enqueued(request, job_id, await self._streams.open(job_id))
        self._pending.popleft()  # not before: while it is in neither, a complete speech would seem to be over
        self._enqueued.append(utterance)
        job = NewJob(
            role=SYNTHESIZER,
            payload=request.stored(),
            job_id=job_id,
            priority=PRIORITIES[part],
            keep_result_seconds=KEEP_SECONDS,
            characters=characters,
            stream=part,
            listener=self._streams.listener,
            affinity=request.voice_id,
            request_id=self._request_id,
        )
        # A text counts as one job of its owner, whatever it is split into.
        counted = part is StreamPart.OPENING or characters
        with act_as(self._caller if counted else Caller.of_job(self._caller.owner)):
            await self._queue.enqueue(job)
        utterance.exists = True


def _chunk(request: UtteranceRequest, samples: bytes, rate: int, words: Iterable[WordTiming]) -> AudioChunk:
    """Return samples of an utterance, with the words that end in them and whose voice that is."""
    return AudioChunk(
        samples,
        rate,
        request.index,
        request.text,
        words=tuple({**word, "voice_id": request.voice_id} for word in words),
        voice_id=request.voice_id,
        loudness=request.loudness,
    )
