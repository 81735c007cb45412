"""Live speech: a text becomes utterances through the queue, which are streamed as they are ready."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import wave
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, TypeVar, cast

from api.http.draining import shutting_down
from api.http.request_context import warn_caller
from api.services.audio_chunks import AudioChunk
from api.services.consent_watch import SpeechConsentWatch
from api.services.job_errors import error_from_job
from api.services.leveling import LevelPlan
from api.services.live_speech import FILE_AHEAD, KEEP_SECONDS, STREAM_AHEAD, LiveSpeech
from api.services.named_voices import NamedVoices
from api.services.provenance import ProvenanceLog
from api.services.references import ReferenceService
from api.services.resampling import resampled
from api.services.speech_session import SpeechSession
from api.services.text_splitting import MAX_CHARACTERS, split_short_text
from api.services.voice_lookup import VoiceLookup
from common.languages import single_language
from common.limits import prompt_seconds
from common.versions import FLOW_MATCHING_VERSIONS, TIMBRE_VERSIONS, spoken_languages
from core.errors import EmptyText, InvalidRequest, NotReady, SovitsError, TextTooLong, TimedOut
from core.ids import new_id
from core.jobs.chunk_streams import ChunkStreams
from core.jobs.events import Events
from core.jobs.job import JobStatus, NewJob
from core.jobs.queue import AsyncQueue
from core.jobs.roles import SPLITTER, SYNTHESIZER
from core.marks.speech_label import SpeechLabel, tags_of
from core.marks.speech_marks import SpeechMarks
from core.media.riff_info import add_wav_tags
from core.primary_lease import PrimaryLease
from core.records import Records, VoiceRecord
from core.settings import Settings
from core.speech.checks import (
    canonical_language,
    check_pronunciations,
    check_speed,
    replace_surrogates,
)
from core.speech.levels import LevelOptions
from core.speech.requests import InputType, PromptRef, SpeechRequest, SplitResult, Timestamps, UtteranceRequest
from core.speech.sampling import SamplingOptions, SplitMethod
from core.speech.utterances import utterance_requests
from core.storage import Storage

logger = logging.getLogger(__name__)

T = TypeVar("T")

_ANY_TEXT: Final = "text"

READY_SECONDS: Final = 1.0
"""How long it counts that a synthesizer was there."""


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
    """Names or paths of more recordings whose style is averaged with the prompt's (see ReferenceService)."""
    timbre: str = ""
    """Name of a recording whose timbre the speech has, while the prompt gives its manner."""
    gpt_checkpoint_id: str = ""
    sovits_checkpoint_id: str = ""
    """Checkpoints in place of the voice's; empty: its own."""
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    levels: LevelOptions = field(default_factory=LevelOptions)
    text_split_method: SplitMethod | None = None
    """None: whole sentences."""
    sample_rate: int = 0
    """Hz of the audio; 0: as the voice's model speaks."""
    timestamps: Timestamps | None = None
    """Whether words, or phonemes as well, are shown with their times."""
    strict_language: bool = False
    """Whether a text in a language that the voice does not speak is an error."""


class SpeechService:
    """Turns a text into audio through the queue; when its listener leaves, the jobs are cancelled."""

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        queue: AsyncQueue,
        events: Events,
        streams: ChunkStreams,
        records: Records,
        references: ReferenceService,
        marks: SpeechMarks,
        provenance: ProvenanceLog,
    ) -> None:
        self.on_first_audio: Callable[[float], object] = lambda seconds: None
        """Hears how long a listener waited for the first audio."""
        self.settings = settings
        self.storage = storage
        self.queue = queue
        self.events = events
        self.streams = streams
        self.records = records
        self.references = references
        self.marks = marks
        self.provenance = provenance
        self.voices = VoiceLookup(settings, records)
        self._consents = SpeechConsentWatch(records, settings.consent_check_seconds)
        self.named_voices = NamedVoices(settings, records, self.voices)
        self._lease = PrimaryLease.of(settings)
        self._live: set[LiveSpeech] = set()
        self._warming: asyncio.Task[None] | None = None
        self._cancelling: set[asyncio.Task[None]] = set()
        self._ready_until = 0.0
        self.draining = False
        """Whether no speech begins any more: only what somebody hears already goes on."""
        self._idle = asyncio.Event()
        self._idle.set()

    async def request(self, text: str, voice: str | VoiceRecord, options: SpeechOptions) -> SpeechRequest:
        """Return a checked request for a voice: its record, id or name.

        Raises EmptyText, TextTooLong, UnsupportedLanguage, LanguageNotSpoken, InvalidRequest, ConsentMissing, or
        VoiceNotFound, which names the voices.
        """
        self.check_text(text)
        language, speed = canonical_language(options.language), check_speed(options.speed)
        record = voice if isinstance(voice, VoiceRecord) else await self.voices.find(voice, text, language)
        await self.records.consents.check_voice(record)
        if options.sampling.verify_speaker and options.sampling.verify == "off":
            raise InvalidRequest(
                "The speaker cannot be verified while verify is off.", hint="Leave verify out, or verify_speaker."
            )
        if options.extra_references and record.version in FLOW_MATCHING_VERSIONS:
            raise InvalidRequest(
                f"{record.version} continues one reference recording; more were sent.",
                hint="v1, v2, the v2Pro family and nano take several.",
            )
        if options.timbre and record.version not in TIMBRE_VERSIONS:
            raise InvalidRequest(
                f"{record.version} takes timbre and manner from one recording; a timbre of its own was sent.",
                hint=f"{', '.join(sorted(TIMBRE_VERSIONS))} take two.",
            )
        prompt = record.prompt_named(options.prompt_name)
        seconds = prompt_seconds(record.version)
        timbre = await self.references.audio_keys((options.timbre,), seconds)
        request = SpeechRequest(
            text=replace_surrogates(text),
            input_type=options.input_type,
            language=language,
            number_language=single_language(record.language) or single_language(prompt["language"]),
            pronunciations={**record.pronunciations, **check_pronunciations(options.pronunciations)},
            voice_id=record.id,
            voice_stamp=record.stamp,
            speed=speed,
            seed=options.seed,
            prompt=options.prompt,
            prompt_name=options.prompt_name,
            extra_references=await self.references.audio_keys(options.extra_references, seconds),
            timbre=next(iter(timbre), ""),
            gpt_checkpoint_id=options.gpt_checkpoint_id,
            sovits_checkpoint_id=options.sovits_checkpoint_id,
            sampling=options.sampling,
            text_split_method=options.text_split_method,
            sample_rate=options.sample_rate,
            loudness=options.levels.loudness_of(record.loudness, self.settings.speech_loudness),
            true_peak=_or_default(options.levels.true_peak, self.settings.speech_true_peak),
            trim_silence=_or_default(options.levels.trim_silence, self.settings.trim_silence),
            timestamps=options.timestamps,
            spoken_languages=spoken_languages(record.version),
            strict_language=options.strict_language,
        )
        request, warnings = await self.named_voices.prepare(request, options.levels, options.pronunciations)
        for warning in warnings:
            warn_caller(warning)
        return request.model_copy(update={"sample_rate": await self.named_voices.common_rate(request, record)})

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
        if time.monotonic() < self._ready_until:
            return
        workers = await self.queue.workers()
        if not any(worker.role == SYNTHESIZER and not worker.draining for worker in workers):
            raise NotReady("No synthesizer is running.", hint="Start the service's workers, or wait until they are up.")
        self._ready_until = time.monotonic() + READY_SECONDS

    async def audio(
        self, request: SpeechRequest, *, job_id: str = "", ahead: int = STREAM_AHEAD, whole: bool = False
    ) -> AsyncGenerator[AudioChunk, None]:
        """Yield the samples of every utterance while they are made, with the pauses between them.

        `whole`: nobody hears anything before the end, so that the loudness of each utterance is known before its first
        sample.

        TimedOut when no audio arrives for SYNTHESIS_TIMEOUT_SECONDS; the errors of texts; the error of a failed job.
        If this ends before the last utterance, by an error or because the listener left, the jobs that are in the queue
        are cancelled.
        """
        speech_id = job_id or new_id("speech")
        async with self.live(request, speech_id, ahead=ahead, whole=whole) as live:
            live.note_text()
            if len(request.text) <= MAX_CHARACTERS:
                utterances = utterance_requests(
                    request, speech_id, await split_short_text(request), notice=self.settings.spoken_notice
                )
                live.add(utterances, request.text, characters=len(request.text))
            else:
                live.add(await self._split(request, speech_id), request.text)
            live.complete()
            async with aclosing(resampled(live.chunks(), request.sample_rate)) as chunks:
                async for chunk in chunks:
                    yield chunk

    @contextlib.asynccontextmanager
    async def session(self, voice: str | VoiceRecord, options: SpeechOptions) -> AsyncIterator[SpeechSession]:
        """Yield a speech session with a voice: text in, audio out; what it has not spoken at the end is cancelled.

        Raises as `request`.
        """
        template = (await self.request(_ANY_TEXT, voice, options)).model_copy(update={"text": ""})
        async with self.live(template, new_id("speech")) as live:
            prepare = partial(self.named_voices.prepare, levels=options.levels, pronunciations=options.pronunciations)
            session = SpeechSession(template, live, self.settings, prepare)
            try:
                yield session
            finally:
                await session.close()

    @contextlib.asynccontextmanager
    async def live(
        self, request: SpeechRequest, speech_id: str, *, ahead: int = STREAM_AHEAD, whole: bool = False
    ) -> AsyncIterator[LiveSpeech]:
        """Yield an empty speech to add utterances of a request to.

        What has not been spoken when the block ends is cancelled.
        Raises NotReady while this process drains, NotPrimary on a site that may not write: a speech is recorded.
        """
        if self.draining:
            raise shutting_down()
        if self._lease is not None:
            self._lease.check()
        if self._warming is None:
            # While the first speech is synthesized: a process that never speaks stays smaller.
            self._warming = asyncio.create_task(asyncio.to_thread(self.marks.warm_up))
        live = LiveSpeech(
            self.queue,
            self.streams,
            self.marks,
            speech_id,
            stall_seconds=self.settings.synthesis_timeout_seconds,
            ahead=ahead,
            levels=LevelPlan(request.true_peak - self.marks.headroom_db, request.trim_silence, whole),
            rate=request.sample_rate if request.voices else 0,
        )
        self._live.add(live)
        self._idle.clear()
        try:
            with self._consents.watch(live):
                yield live
        finally:
            self._live.discard(live)
            if live.first_audio_seconds is not None:
                self.on_first_audio(live.first_audio_seconds)
            for speech in live.provenance():
                self.provenance.note(speech)
            if not self._live:
                self._idle.set()
            if not live.ended:
                # Not awaited here: a cancellation of the caller would cancel that, too.
                self._cancel_soon(self._cancel(live))

    async def write(self, request: SpeechRequest, key: str, *, job_id: str = "") -> int:
        """Speak into one WAV under a storage key, and return the number of utterances."""
        temporary = self.storage.new_temporary()
        count = 0
        label: SpeechLabel | None = None
        try:
            with contextlib.ExitStack() as stack:
                file: wave.Wave_write | None = None
                async with aclosing(self.audio(request, job_id=job_id, ahead=FILE_AHEAD, whole=True)) as chunks:
                    async for chunk in chunks:
                        if file is None:
                            file = stack.enter_context(_new_wav(temporary, chunk.sample_rate))
                        await asyncio.to_thread(file.writeframes, chunk.samples)
                        count += chunk.last
                        label = chunk.label
            await asyncio.to_thread(add_wav_tags, temporary, tags_of(label))
            await asyncio.to_thread(self.marks.finish_file, temporary, "wav", label)
            await asyncio.to_thread(self.storage.publish, temporary, key)
        finally:
            temporary.unlink(missing_ok=True)
        return count

    def drain(self) -> None:
        """Begin no more speech; what nobody has heard anything of yet ends with NotReady."""
        self.draining = True
        for live in list(self._live):
            if not live.started:
                live.abort(shutting_down())

    async def wait_until_idle(self) -> None:
        """Wait until all speech has ended, and what was cancelled has reached the queue."""
        await self._idle.wait()
        await self.close()

    async def close(self) -> None:
        """Wait until the cancellations under way have reached the queue."""
        await self._consents.close()
        warming = [self._warming] if self._warming is not None else []
        await asyncio.gather(*self._cancelling, *warming, return_exceptions=True)

    async def _split(self, request: SpeechRequest, speech_id: str) -> list[UtteranceRequest]:
        """Have the splitter split a long text."""
        job = NewJob(
            SPLITTER, request.stored(), job_id=speech_id, characters=len(request.text), keep_result_seconds=KEEP_SECONDS
        )
        ended = False
        try:
            await self.queue.enqueue(job)
            split = await self.events.wait(speech_id, self.settings.synthesis_timeout_seconds)
            ended = True
        except TimedOut:
            seconds = self.settings.synthesis_timeout_seconds
            raise TimedOut(
                f"The text was not split after {seconds:g} s, so the speech was cancelled.",
                details={"job_id": speech_id},
            ) from None
        finally:
            if not ended:
                self._cancel_soon(self._cancel_split(speech_id))
        if split.status is not JobStatus.DONE or split.result is None:
            raise error_from_job(split)
        utterances = cast(SplitResult, split.result)["utterances"]
        return [UtteranceRequest.model_validate(utterance.get("request")) for utterance in utterances]

    def _cancel_soon(self, cancellation: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(cancellation)
        self._cancelling.add(task)
        task.add_done_callback(self._cancelling.discard)

    async def _cancel(self, live: LiveSpeech) -> None:
        """Cancel what a speech has in the queue."""
        try:
            cancelled = await live.cancel()
        except SovitsError as error:
            logger.warning("The speech %s could not be cancelled: %s", live.id, error.message)
            return
        if cancelled:
            logger.info("Cancelled the speech %s: nobody waits for it any more.", live.id)

    async def _cancel_split(self, speech_id: str) -> None:
        try:
            await self.queue.cancel(speech_id)
        except SovitsError as error:
            logger.warning("The speech %s could not be cancelled: %s", speech_id, error.message)


def _or_default(option: T | None, default: T) -> T:
    return default if option is None else option


def _new_wav(path: Path, sample_rate: int) -> wave.Wave_write:
    file = wave.open(str(path), "wb")  # noqa: SIM115  # closed by the caller's stack
    file.setnchannels(1)
    file.setsampwidth(2)
    file.setframerate(sample_rate)
    return file
