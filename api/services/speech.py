"""Speech as the front doors use it: checked, enqueued, heard utterance by utterance, cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import wave
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from api.http.errors import from_job
from core.errors import EmptyText, NotReady, SovitsError, TextTooLong, TimedOut
from core.ids import new_id
from core.jobs.events import Events
from core.jobs.job import JobStatus, NewJob
from core.jobs.queue import AsyncQueue
from core.jobs.roles import SPLITTER, SYNTHESIZER
from core.records import Records
from core.settings import Settings
from core.speech.checks import canonical_language, check_pronunciations, check_speed, replace_surrogates
from core.speech.requests import InputType, PromptRef, SpeechRequest
from core.storage import Storage

logger = logging.getLogger(__name__)

ABANDON_SECONDS: Final = 30.0
"""How long a cancelled splitter is watched for utterances that it may still hand out."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One sentence, spoken."""

    index: int
    text: str
    audio: str
    """Storage key of a mono 16-bit WAV."""
    sample_rate: int
    seconds: float
    pause_seconds: float
    """Silence before the next utterance."""


@dataclass(frozen=True, slots=True)
class Sound:
    """Consecutive samples of the speech: 16 bit, mono."""

    samples: bytes
    sample_rate: int


class SpeechService:
    """Turns a text into sound through the queue; whoever stops listening stops the work."""

    def __init__(
        self, settings: Settings, storage: Storage, queue: AsyncQueue, events: Events, records: Records
    ) -> None:
        self.settings = settings
        self.storage = storage
        self.queue = queue
        self.events = events
        self.records = records
        self._abandoning: set[asyncio.Task[None]] = set()

    async def request(
        self,
        text: str,
        voice: str,
        *,
        language: str = "auto",
        speed: float = 1.0,
        seed: int | None = None,
        prompt: PromptRef | None = None,
        prompt_name: str = "",
        input_type: InputType = "auto",
        pronunciations: dict[str, str] | None = None,
    ) -> SpeechRequest:
        """A request that was checked; every refusal is one sentence, VoiceNotFound's names the voices.

        `pronunciations` go before the voice's own of the same words; `prompt_name` names one of its prompts.
        """
        self.check_text(text)
        language, speed = canonical_language(language), check_speed(speed)
        found = await self.records.voices.get(voice)
        found.prompt_named(prompt_name)
        return SpeechRequest(
            text=replace_surrogates(text),
            input_type=input_type,
            language=language,
            pronunciations={**found.pronunciations, **check_pronunciations(pronunciations or {})},
            voice_id=found.id,
            speed=speed,
            seed=seed,
            prompt=prompt,
            prompt_name=prompt_name,
        )

    def check_text(self, text: str) -> None:
        if not text.strip():
            raise EmptyText("The text is empty.", hint="Send at least one word.")
        longest = self.settings.max_text_characters
        if len(text) > longest:
            raise TextTooLong(
                f"The text has {len(text):,} characters; {longest:,} is the most.",
                hint="Split it and send the parts.",
            )

    async def check_ready(self) -> None:
        """NotReady unless someone is there to speak."""
        if not await self.synthesizers():
            raise NotReady("No synthesizer is running.", hint="Start the service's workers, or wait until they are up.")

    async def synthesizers(self) -> int:
        """How many workers can speak."""
        return sum(worker.role == SYNTHESIZER for worker in await self.queue.workers())

    async def stream(
        self, request: SpeechRequest, *, job_id: str = "", priority: int = 5
    ) -> AsyncGenerator[Utterance, None]:
        """The utterances in order, each as soon as it is ready.

        TimedOut after SYNTHESIS_TIMEOUT_SECONDS in all; a failed job's own error otherwise. However this ends
        before the last utterance, an error or a listener that left, what is still in the queue is cancelled.
        """
        job_id = job_id or new_id("speech")
        deadline = time.monotonic() + self.settings.synthesis_timeout_seconds
        finished = False
        try:
            await self.queue.enqueue(NewJob(SPLITTER, request.stored(), job_id=job_id, priority=priority))
            split = await self._result(job_id, deadline)
            for index, child in enumerate(split["utterances"]):
                spoken = await self._result(child["job_id"], deadline)
                yield Utterance(
                    index=index,
                    text=spoken["text"],
                    audio=spoken["audio"],
                    sample_rate=spoken["sample_rate"],
                    seconds=spoken["seconds"],
                    pause_seconds=spoken.get("pause_seconds", 0.0),
                )
            finished = True
        finally:
            if not finished:
                # Not awaited here: whoever cancelled us would cancel that, too.
                task = asyncio.create_task(self._abandon(job_id))
                self._abandoning.add(task)
                task.add_done_callback(self._abandoning.discard)

    async def sound(self, request: SpeechRequest, *, job_id: str = "") -> AsyncGenerator[Sound, None]:
        """The samples of every utterance as it is ready, pauses between them included."""
        pause = 0.0
        async with aclosing(self.stream(request, job_id=job_id)) as utterances:
            async for utterance in utterances:
                samples = await asyncio.to_thread(_read_samples, self.storage, utterance.audio)
                silence = bytes(2 * round(pause * utterance.sample_rate))
                yield Sound(silence + samples, utterance.sample_rate)
                pause = utterance.pause_seconds

    async def write(self, request: SpeechRequest, key: str, *, job_id: str = "") -> int:
        """Speak into one WAV under a storage key; how many utterances it has."""
        temporary = self.storage.new_temporary()
        count = 0
        try:
            with contextlib.ExitStack() as stack:
                file: wave.Wave_write | None = None
                async with aclosing(self.sound(request, job_id=job_id)) as pieces:
                    async for piece in pieces:
                        if file is None:
                            file = stack.enter_context(_new_wav(temporary, piece.sample_rate))
                        await asyncio.to_thread(file.writeframes, piece.samples)
                        count += 1
            await asyncio.to_thread(self.storage.publish, temporary, key)
        finally:
            temporary.unlink(missing_ok=True)
        return count

    async def close(self) -> None:
        """Let the cancellations under way reach the queue."""
        await asyncio.gather(*self._abandoning, return_exceptions=True)

    async def _result(self, job_id: str, deadline: float) -> dict[str, Any]:
        """The result of a job that is done; its error otherwise."""
        try:
            job = await self.events.wait(job_id, max(0.0, deadline - time.monotonic()))
        except TimedOut:
            seconds = self.settings.synthesis_timeout_seconds
            raise TimedOut(
                f"The speech was not ready after {seconds:g} s and was cancelled.", details={"job_id": job_id}
            ) from None
        if job.status is not JobStatus.DONE or job.result is None:
            raise from_job(job)
        return job.result

    async def _abandon(self, job_id: str) -> None:
        """Cancel a splitter's job and every utterance that came of it."""
        try:
            await self.queue.cancel(job_id)
            # A splitter in the middle of its work may still hand out utterances before it hears of it.
            with contextlib.suppress(TimedOut):
                await self.events.wait(job_id, ABANDON_SECONDS)
            index = 0
            while await self._cancel(f"{job_id}.{index}"):
                index += 1
        except SovitsError as error:
            logger.warning("The speech %s could not be cancelled: %s", job_id, error.message)
        else:
            logger.info("Cancelled the speech %s: nobody waits for it any more.", job_id)

    async def _cancel(self, job_id: str) -> bool:
        return await self.queue.cancel(job_id) is not None


def _read_samples(storage: Storage, key: str) -> bytes:
    with wave.open(str(storage.path(key)), "rb") as file:
        return file.readframes(file.getnframes())


def _new_wav(path: Path, sample_rate: int) -> wave.Wave_write:
    file = wave.open(str(path), "wb")  # noqa: SIM115  # closed by the caller's stack
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(sample_rate)
    return file
