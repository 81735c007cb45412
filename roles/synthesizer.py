"""The synthesizer: its slots hand utterances to the engine of the device, and publish or store what comes back."""

from __future__ import annotations

import logging
import queue
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from common import storage_keys
from common.limits import MAX_SEED
from core.errors import Draining
from core.jobs.job import Job
from core.jobs.roles import SYNTHESIZER
from core.jobs.service_counts import (
    ENGINE_ROWS,
    ENGINE_STEPS,
    SPOKEN_SECONDS,
    SPOKEN_UTTERANCES,
    SYNTHESIS_SECONDS,
    VOICE_LOADS,
)
from core.jobs.verification_counts import (
    DOUBTFUL,
    FAULT_PREFIX,
    RETRIES,
    SECONDS,
    UTTERANCES,
    VerificationCounts,
)
from core.redis import is_connection_error
from core.speech.requests import UtteranceRequest, UtteranceResult
from core.speech.verification import DEFAULT_VERIFY, UNVERIFIED, SpeechVerification, verification_of
from core.speech.words import MarkTimer, WordTiming, word_timings
from roles.runtime.errors import model_errors
from roles.runtime.role import JobContext
from roles.runtime.services import WorkerServices
from roles.speech.chunk_publisher import ChunkPublisher
from roles.speech.consent_watch import JobConsentWatch
from roles.speech.loaded_voices import LoadedVoices
from roles.speech.manner import UtteranceManner
from roles.speech.recognizers import SpeechRecognizers

if TYPE_CHECKING:
    from GPT_SoVITS.engine.utterance import UtteranceTotals
    from GPT_SoVITS.engine.verification import VerificationReport, VerificationSettings
    from GPT_SoVITS.pipeline import Speech

logger = logging.getLogger(__name__)


class Synthesizer:
    """Speak utterances: stream the audio of those that somebody waits for, store the audio of the others.

    Every slot runs one job in a thread of its own; the networks run on the engine's thread alone.
    """

    name = SYNTHESIZER
    stop_grace_seconds = 30.0
    """The engine stops an utterance within some steps; the loading of a voice is waited for."""

    def start(self, services: WorkerServices) -> None:
        """Load the library and speak a short utterance, so that the first job waits for nothing."""
        from GPT_SoVITS.engine.speech_cache import SpeechCache
        from GPT_SoVITS.engine.speech_engine import SpeechEngine, chunks_at_once
        from GPT_SoVITS.engine.warm_up import warm_up
        from GPT_SoVITS.synthesis.model_loading import suitable_precision

        self.services = services
        self.voices = LoadedVoices(services)
        self.recognizers = SpeechRecognizers(services)
        self.consents = JobConsentWatch(services)
        self.engine = SpeechEngine(
            threads=services.threads,
            max_chunks=chunks_at_once(services.device),
            speech_cache=SpeechCache(services.settings.speech_cache_mb << 20),
            cuda_graphs=services.settings.inference_cuda_graphs == "auto",
            release_memory=self.voices.clear,
        )
        self._counted: dict[str, int] = {}
        self.voices.report()  # in place of what an earlier process with this id had
        precision = suitable_precision(services.settings.inference_precision, services.device)
        totals = warm_up(self.engine, device=services.device, precision=precision)
        logger.info("Warmed up in %.1f s.", totals.seconds)

    def run(self, job: Job, context: JobContext) -> dict[str, Any]:
        """Speak the utterance of the payload."""
        request = UtteranceRequest.model_validate(job.payload)
        if request.seed is None:
            request = request.model_copy(update={"seed": random.getrandbits(32)})
        elif job.attempts:  # the same samples would fail again
            request = request.model_copy(update={"seed": (request.seed + job.attempts) % MAX_SEED})
        with self.consents.watch(request.voice_id, context):
            return {**(self.store(request, context) if job.stream is None else self.stream(request, context))}

    def stream(self, request: UtteranceRequest, context: JobContext) -> UtteranceResult:
        """Speak an utterance and publish its samples as they are made, with the silence around it; store nothing.

        The chunks depend on the request alone: a worker that takes the job over goes on behind the last sample that was
        published.
        """
        from GPT_SoVITS.audio import to_int16

        utterance = _SpokenUtterance(self, request, context, live=True)
        rate = utterance.sample_rate
        publisher = ChunkPublisher(context, rate)
        publisher.publish(bytes(2 * round(request.silence_before * rate)))
        for speech in utterance.chunks():
            publisher.publish(to_int16(speech.samples).tobytes(), word_timings(request, speech.words))
        publisher.publish(bytes(2 * round(request.silence_after * rate)))
        return utterance.result("", publisher.published_bytes // 2, publisher.pending_words)

    def store(self, request: UtteranceRequest, context: JobContext) -> UtteranceResult:
        """Speak an utterance, store it as one WAV with the silence around it, and report it where it is watched."""
        import numpy as np

        from GPT_SoVITS.audio import write_wav

        utterance = _SpokenUtterance(self, request, context, live=False)
        rate = utterance.sample_rate
        silence = [round(seconds * rate) for seconds in (request.silence_before, request.silence_after)]
        chunks = list(utterance.chunks())
        samples = np.pad(np.concatenate([speech.samples for speech in chunks]), silence)
        words = word_timings(request, (word for speech in chunks for word in speech.words))
        # Under the token of the lease: a worker that lost it, and goes on after that, overwrites nothing.
        key = storage_keys.speech_file(request.parent, f"{request.index}.{context.lease.token}.wav")
        with self.services.storage.temporary_file() as temporary:
            write_wav(temporary, samples, rate)
            context.check()
            self.services.storage.publish(temporary, key)
        result = utterance.result(key, len(samples), words)
        if request.announced:
            utterance_event = {"index": request.index, "part": context.lease.job.id, "text": request.text}
            context.event("utterance", {**utterance_event, **verification_of(result)})
        return result

    def verification(self, request: UtteranceRequest, recording: str) -> VerificationSettings | None:
        """Return how an utterance of a prompt's recording is verified, by its request and SPEECH_RETRIES."""
        from GPT_SoVITS.engine.verification import VerificationSettings

        if (request.sampling.verify or DEFAULT_VERIFY) == "off":
            return None
        recognizer = self.recognizers.recognizer(request, recording)
        return VerificationSettings(self.services.settings.speech_retries, recognizer)

    def count_utterance(self, totals: UtteranceTotals) -> dict[str, float]:
        """Return what an utterance adds to /metrics, with what the engine did and loaded since the one before."""
        now = {VOICE_LOADS: self.voices.loads, ENGINE_STEPS: self.engine.steps, ENGINE_ROWS: self.engine.rows}
        since = {name: float(count - self._counted.get(name, 0)) for name, count in now.items()}
        self._counted = now
        spoken = totals.samples / totals.sample_rate
        return {**since, SPOKEN_UTTERANCES: 1.0, SPOKEN_SECONDS: spoken, SYNTHESIS_SECONDS: totals.seconds}

    def count_verification(self, report: VerificationReport) -> None:
        """Add to what /metrics shows of all synthesizers."""
        counts = Counter({UTTERANCES: 1.0, RETRIES: report.attempts - 1.0, SECONDS: report.seconds})
        counts[DOUBTFUL] += report.verdict == "doubtful"
        counts.update(f"{FAULT_PREFIX}{fault.kind}" for fault in (*report.faults, *report.corrected))
        try:
            VerificationCounts(self.services.queue.transport, self.services.queue.prefix).add(counts)
        except Exception as error:
            if not is_connection_error(error):
                raise
            logger.debug("Redis is away; %s is not counted.", report)

    def idle(self) -> None:
        """Keep what is loaded, which makes the next utterance fast, unless nobody has used it for long."""
        self.voices.tidy()

    def stop(self) -> None:
        """Cancel what is being spoken and drop the voices."""
        self.consents.close()
        self.engine.close()
        self.voices.close()


class _SpokenUtterance:
    """One utterance on its way through the engine, which calls the `on_…` methods on its thread."""

    def __init__(self, role: Synthesizer, request: UtteranceRequest, context: JobContext, *, live: bool) -> None:
        from GPT_SoVITS.engine.utterance import Urgency, UtteranceTask
        from roles.speech.synthesis_options import chunk_settings, synthesis_request

        self._role = role
        self._request = request
        self._context = context
        self._events: queue.SimpleQueue[Speech | UtteranceTotals | Exception] = queue.SimpleQueue()
        pipeline, prompt, recording = role.voices.load(request, role.engine, live=live)
        context.check()
        assert request.seed is not None
        synthesis = synthesis_request(request, prompt, request.seed)
        self.sample_rate = pipeline.output_rate(synthesis)
        task = UtteranceTask(
            pipeline,
            synthesis,
            chunks=chunk_settings(request.sampling, pipeline.default_chunks) if live else None,
            urgency=Urgency.LIVE if live else Urgency.BATCH,
            verification=role.verification(request, recording),
            repeatable=request.repeatable,
        )
        context.on_stop(role.engine.submit(task, self).cancel)
        self._totals: UtteranceTotals | None = None
        self._marks = MarkTimer(request)

    def on_chunk(self, speech: Speech) -> None:
        self._events.put(speech)

    def on_end(self, totals: UtteranceTotals) -> None:
        self._events.put(totals)

    def on_error(self, error: Exception) -> None:
        self._events.put(error)

    def chunks(self) -> Iterator[Speech]:
        """Yield the chunks as they come; raise the error of the model, or why the job should stop."""
        from GPT_SoVITS.engine.utterance import UtteranceCancelled, UtteranceTotals

        manner = UtteranceManner(self._request, self.sample_rate)
        last: Speech | None = None
        while not isinstance(event := self._events.get(), UtteranceTotals):
            if isinstance(event, UtteranceCancelled):
                self._context.check()
                raise Draining("The engine was closed.")
            if isinstance(event, Exception):
                with model_errors():
                    raise event
            speech = manner.feed(event) if manner.changes else event
            self._marks.add(speech.words)
            yield speech
            last = event
        self._totals = event
        if last is not None and manner.changes:
            rest = manner.finish(last)
            self._marks.add(rest.words)
            yield rest

    def result(self, key: str, samples: int, words: Iterable[WordTiming]) -> UtteranceResult:
        """Return the result of the job: `samples` are all, with the silence; `words` those not published yet."""
        totals, request = self._totals, self._request
        assert totals is not None
        self._context.counts.update(self._role.count_utterance(totals))
        return {
            "audio": key,
            "sample_rate": self.sample_rate,
            "seconds": samples / self.sample_rate,
            "pause_seconds": 0.0 if request.silence_after else request.sampling.pause_seconds,
            "text": request.text,
            "seed": request.seed or 0,
            "real_time_factor": totals.seconds * totals.sample_rate / max(1, totals.samples),
            "skipped": totals.skipped,
            "words": [{**word} for word in words],
            "marks": self._marks.finish(),
            **self._verification(totals.verification),
        }

    def _verification(self, report: VerificationReport | None) -> SpeechVerification:
        """Count what became of a verified utterance, and return it for the result."""
        if report is None:
            return UNVERIFIED
        self._role.count_verification(report)
        verification: dict[str, Any] = {
            "verdict": report.verdict,
            "attempts": report.attempts,
            "faults": [fault.as_dict() for fault in report.faults],
            "unchecked": list(report.unchecked),
        }
        if report.speaker_similarity is not None:
            verification["speaker_similarity"] = round(report.speaker_similarity, 3)
        return cast(SpeechVerification, verification)
