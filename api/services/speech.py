"""Live speech: a text becomes utterances through the queue, which are streamed as they are ready."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import wave
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from api.services.job_errors import error_from_job
from common.languages import single_language
from core.errors import EmptyText, NotReady, SovitsError, TextTooLong, TimedOut
from core.ids import new_id
from core.jobs.events import Events
from core.jobs.job import JobStatus, NewJob
from core.jobs.queue import AsyncQueue
from core.jobs.roles import SPLITTER, SYNTHESIZER
from core.records import Records
from core.settings import Settings
from core.speech.checks import canonical_language, check_pronunciations, check_speed, replace_surrogates
from core.speech.requests import InputType, PromptRef, SpeechRequest, SplitResult, UtteranceResult
from core.speech.sampling import SamplingOptions, SplitMethod
from core.storage import Storage

logger = logging.getLogger(__name__)

ABANDON_SECONDS: Final = 30.0
"""How long a cancelled splitter is watched for utterances that it may still enqueue."""


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """How a text is spoken."""

    language: str = "auto"
    speed: float = 1.0
    """Times the voice's own pace."""
    seed: int | None = None
    prompt: PromptRef | None = None
    """A reference recording in place of the voice's own."""
    prompt_name: str = ""
    """The name of one of the voice's prompts; empty for its first."""
    input_type: InputType = "auto"
    pronunciations: dict[str, str] = field(default_factory=dict)
    """Word → pronunciation; they take precedence over those of the voice."""
    extra_references: tuple[str, ...] = ()
    """Storage keys of more WAV files whose style is averaged with the prompt's."""
    gpt_checkpoint_id: str = ""
    sovits_checkpoint_id: str = ""
    """Checkpoints in place of the voice's; empty: its own."""
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    text_split_method: SplitMethod | None = None
    """None: whole sentences."""


@dataclass(frozen=True, slots=True)
class SynthesizedUtterance:
    """A sentence that was synthesized."""

    audio: str
    """Storage key of a mono 16-bit WAV."""
    sample_rate: int
    pause_seconds: float
    """Silence before the next utterance."""


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """Consecutive samples of the speech: 16 bit, mono."""

    samples: bytes
    sample_rate: int


class SpeechService:
    """Turns a text into audio through the queue; when its listener leaves, the jobs are cancelled."""

    def __init__(
        self, settings: Settings, storage: Storage, queue: AsyncQueue, events: Events, records: Records
    ) -> None:
        self.settings = settings
        self.storage = storage
        self.queue = queue
        self.events = events
        self.records = records
        self._cancelling: set[asyncio.Task[None]] = set()

    async def request(self, text: str, voice: str, options: SpeechOptions) -> SpeechRequest:
        """Return a checked request for a voice, by its id or name.

        Raises EmptyText, TextTooLong, UnsupportedLanguage, InvalidRequest, or VoiceNotFound, which names the voices.
        """
        self.check_text(text)
        language, speed = canonical_language(options.language), check_speed(options.speed)
        record = await self.records.voices.get(voice)
        prompt = record.prompt_named(options.prompt_name)
        return SpeechRequest(
            text=replace_surrogates(text),
            input_type=options.input_type,
            language=language,
            number_language=single_language(record.language) or single_language(prompt["language"]),
            pronunciations={**record.pronunciations, **check_pronunciations(options.pronunciations)},
            voice_id=record.id,
            speed=speed,
            seed=options.seed,
            prompt=options.prompt,
            prompt_name=options.prompt_name,
            extra_references=options.extra_references,
            gpt_checkpoint_id=options.gpt_checkpoint_id,
            sovits_checkpoint_id=options.sovits_checkpoint_id,
            sampling=options.sampling,
            text_split_method=options.text_split_method,
        )

    def check_text(self, text: str) -> None:
        """Raise EmptyText or TextTooLong unless the text can be spoken."""
        if not text.strip():
            raise EmptyText("The text is empty.", hint="Send at least one word.")
        longest = self.settings.max_text_characters
        if len(text) > longest:
            raise TextTooLong(
                f"The text has {len(text):,} characters; {longest:,} is the most.",
                hint="Split it and send the parts.",
            )

    async def check_ready(self) -> None:
        """Raise NotReady unless a synthesizer is running."""
        if not any(worker.role == SYNTHESIZER for worker in await self.queue.workers()):
            raise NotReady("No synthesizer is running.", hint="Start the service's workers, or wait until they are up.")

    async def stream(self, request: SpeechRequest, *, job_id: str = "") -> AsyncGenerator[SynthesizedUtterance, None]:
        """Yield the utterances in order, each as soon as it is ready.

        TimedOut after SYNTHESIS_TIMEOUT_SECONDS in all; the error of a failed job. If this ends before the last
        utterance, by an error or because the listener left, the jobs still in the queue are cancelled.
        """
        job_id = job_id or new_id("speech")
        deadline = time.monotonic() + self.settings.synthesis_timeout_seconds
        complete = False
        try:
            job = NewJob(SPLITTER, request.stored(), job_id=job_id, characters=len(request.text))
            await self.queue.enqueue(job)
            split = cast(SplitResult, await self._result(job_id, deadline))
            for utterance in split["utterances"]:
                result = cast(UtteranceResult, await self._result(utterance["job_id"], deadline))
                yield SynthesizedUtterance(
                    audio=result["audio"],
                    sample_rate=result["sample_rate"],
                    pause_seconds=result.get("pause_seconds", 0.0),
                )
            complete = True
        finally:
            if not complete:
                # Not awaited here: a cancellation of this generator would cancel that, too.
                task = asyncio.create_task(self._cancel(job_id))
                self._cancelling.add(task)
                task.add_done_callback(self._cancelling.discard)

    async def audio(self, request: SpeechRequest, *, job_id: str = "") -> AsyncGenerator[AudioChunk, None]:
        """Yield the samples of every utterance as it is ready, with the pauses between them."""
        pause = 0.0
        async with aclosing(self.stream(request, job_id=job_id)) as utterances:
            async for utterance in utterances:
                samples = await asyncio.to_thread(_read_samples, self.storage, utterance.audio)
                silence = bytes(2 * round(pause * utterance.sample_rate))
                yield AudioChunk(silence + samples, utterance.sample_rate)
                pause = utterance.pause_seconds

    async def write(self, request: SpeechRequest, key: str, *, job_id: str = "") -> int:
        """Speak into one WAV under a storage key, and return the number of utterances."""
        temporary = self.storage.new_temporary()
        count = 0
        try:
            with contextlib.ExitStack() as stack:
                file: wave.Wave_write | None = None
                async with aclosing(self.audio(request, job_id=job_id)) as chunks:
                    async for chunk in chunks:
                        if file is None:
                            file = stack.enter_context(_new_wav(temporary, chunk.sample_rate))
                        await asyncio.to_thread(file.writeframes, chunk.samples)
                        count += 1
            await asyncio.to_thread(self.storage.publish, temporary, key)
        finally:
            temporary.unlink(missing_ok=True)
        return count

    async def close(self) -> None:
        """Wait until the cancellations under way have reached the queue."""
        await asyncio.gather(*self._cancelling, return_exceptions=True)

    async def _result(self, job_id: str, deadline: float) -> Mapping[str, object]:
        """Wait for a job and return its result; raise its error if it failed, TimedOut after the deadline."""
        try:
            job = await self.events.wait(job_id, max(0.0, deadline - time.monotonic()))
        except TimedOut:
            seconds = self.settings.synthesis_timeout_seconds
            raise TimedOut(
                f"The speech was not ready after {seconds:g} s and was cancelled.", details={"job_id": job_id}
            ) from None
        if job.status is not JobStatus.DONE or job.result is None:
            raise error_from_job(job)
        return job.result

    async def _cancel(self, job_id: str) -> None:
        """Cancel a splitter's job and every utterance that it enqueued."""
        try:
            await self.queue.cancel(job_id)
            # A splitter that is running may still enqueue utterances before it notices.
            with contextlib.suppress(TimedOut):
                await self.events.wait(job_id, ABANDON_SECONDS)
            index = 0
            while await self.queue.cancel(f"{job_id}.{index}") is not None:
                index += 1
        except SovitsError as error:
            logger.warning("The speech %s could not be cancelled: %s", job_id, error.message)
        else:
            logger.info("Cancelled the speech %s: nobody waits for it any more.", job_id)


def _read_samples(storage: Storage, key: str) -> bytes:
    with wave.open(str(storage.path(key)), "rb") as file:
        return file.readframes(file.getnframes())


def _new_wav(path: Path, sample_rate: int) -> wave.Wave_write:
    file = wave.open(str(path), "wb")  # noqa: SIM115  # closed by the caller's stack
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(sample_rate)
    return file
