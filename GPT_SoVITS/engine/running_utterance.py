"""An utterance on its way through both stages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from GPT_SoVITS.engine.attempts import Attempts
from GPT_SoVITS.engine.scheduler import Phase, ScheduledUtterance
from GPT_SoVITS.engine.utterance import Urgency, UtteranceListener, UtteranceTask, UtteranceTotals
from GPT_SoVITS.engine.verification import Recognition, VerificationReport
from GPT_SoVITS.synthesis.acoustic_decoder import AcousticStream, AudioPiece, BatchableStream
from GPT_SoVITS.synthesis.conditioning import ConditionedRequest
from GPT_SoVITS.synthesis.generator_rows import GeneratorUse
from GPT_SoVITS.synthesis.speech import Speech, nothing_spoken
from GPT_SoVITS.synthesis.verification.faults import Fault
from GPT_SoVITS.synthesis.verification.samples import sample_faults
from GPT_SoVITS.synthesis.word_timing import PeakLevels, SpokenWord, WordTimer
from GPT_SoVITS.text import PhonemizedText

YIELD_SECONDS = 0.001
"""The engine's thread pauses so long after the first chunk of a live utterance, which another thread publishes
meanwhile; it would else wait for this one, up to 5 ms each time that it needs Python."""


class UtteranceHandle:
    """An utterance that was submitted."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Stop the utterance within a few steps, from any thread; harmless when it has ended."""
        self._cancelled.set()


class RunningUtterance:
    """The state of an utterance; only the engine's thread touches it.

    Both stages can begin again at any time: they give the same tokens and samples, of which those that were delivered
    are dropped.
    """

    conditioned: ConditionedRequest
    attempts: Attempts

    def __init__(self, task: UtteranceTask, listener: UtteranceListener, group: object) -> None:
        self.task = task
        self.pipeline = task.pipeline
        self.listener = listener
        self.chunks = task.chunks
        """None delivers the utterance as one chunk."""
        self.handle = UtteranceHandle()
        now = time.monotonic()
        self.scheduled = ScheduledUtterance(group, task.urgency is Urgency.LIVE, now, task.played_until)
        self.phonemes: Future[PhonemizedText] = Future()
        self.ended = False
        """Whether the listener heard of the end."""
        self.was_alone = False
        """Whether it already has the whole memory to itself."""
        self.delivered: list[Speech] = []
        """All chunks so far."""
        self._submitted_at = now
        self.report: VerificationReport | None = None
        """How what was delivered was verified."""
        self.recognize: Callable[[Callable[[], Recognition]], Future[Recognition]] | None = None
        """Has a recognizer listen beside the device's thread."""
        self.work_beside: Callable[[Callable[[], None]], object] | None = None
        """Has something done beside the device's thread."""
        self._recognition: Future[Recognition] | None = None
        self._sample_faults: list[Fault] = []
        self._verifying_seconds = 0.0
        self._acoustic: AcousticStream | None = None
        self._in_acoustic = 0
        """Tokens that the second stage was given."""
        self._acoustic_finished = False
        self._repeated_chunks = 0
        """Chunks that the second stage will make again."""
        self._waves: list[Tensor] = []
        """Pieces of an utterance that is delivered as one chunk."""
        self._timer: WordTimer | None = None
        self._levels = PeakLevels(self.pipeline.sample_rate)
        self._words: list[SpokenWord] = []
        """Words of pieces that were not delivered yet."""

    def update_phase(self) -> None:
        """Tell the scheduler what the utterance needs next."""
        scheduled = self.scheduled
        scheduled.generator = None
        if not hasattr(self, "conditioned"):
            scheduled.phase = Phase.READY if self.phonemes.done() else Phase.BLOCKED
        elif self._recognition is not None:
            scheduled.phase = Phase.READY if self._recognition.done() else Phase.BLOCKED
        elif self._acoustic is not None and self._acoustic.ready:
            scheduled.phase = Phase.READY
            if isinstance(self._acoustic, BatchableStream):
                scheduled.generator = id(self._acoustic.generator)
        elif scheduled.in_batch:
            scheduled.phase = Phase.GENERATING
        else:
            scheduled.phase = Phase.BLOCKED if self.attempts.finished else Phase.WAITING

    def advance(self) -> None:
        """Do one slice of the utterance's own work: condition it, or decode some audio. Raises ModelError."""
        if not hasattr(self, "conditioned"):
            with torch.inference_mode():
                self.conditioned = self.pipeline.conditioner.condition(self.task.request, self.phonemes.result())
            self.chunks = self.pipeline.possible_chunks(self.task.request, self.chunks)
            settings = self.task.verification
            if settings is not None and settings.recognizer is not None:
                self.chunks = None  # nothing is delivered before all of it was recognized
            self.attempts = Attempts(
                self.conditioned,
                settings,
                self.pipeline.text_to_verify(self.conditioned),
                first=0 if self.chunks is None else self.chunks.first,
            )
            self.scheduled.phase = Phase.WAITING
            self._feed()
            return
        if self._recognition is not None:
            recognition, self._recognition = self._recognition, None
            self._judge_wave(recognition.result())
            return
        assert self._acoustic is not None
        self._after_slice(self._acoustic.advance())

    def decoding(self) -> GeneratorUse[None]:
        """Do what `advance` does with a chunk of a stream that shares its generator. Raises ModelError."""
        assert isinstance(self._acoustic, BatchableStream)
        self._after_slice((yield from self._acoustic.decoding()))

    def _after_slice(self, piece: AudioPiece | None) -> None:
        """Take what a slice of the second stage has made, and end the utterance behind the last one."""
        assert self._acoustic is not None
        if piece is not None:
            self._take_piece(piece)
        if not self._acoustic_finished or self._acoustic.ready:
            self.update_phase()
        elif self.chunks is None:
            self._verify_wave()
        else:
            started = time.perf_counter()
            faults = [] if self.task.verification is None else self._faults_of_chunks()
            self.finish(self.attempts.report(faults, time.perf_counter() - started))

    def take_tokens(self, tokens: Sequence[int], *, finished: bool = False) -> bool:
        """Take all tokens so far of a row; return whether the row must leave its batch. Raises ModelError."""
        if finished:
            self.scheduled.in_batch = False
        leaves = self.attempts.take_tokens(tokens, finished=finished)
        self._feed()
        return leaves

    def _verify_wave(self) -> None:
        """Look for faults in audio that is delivered as a whole, or have it recognized."""
        wave, settings = torch.cat(self._waves), self.task.verification
        if settings is None:
            self._deliver_whole([], Recognition())
            return
        started = time.perf_counter()
        samples, rate = wave.float().cpu().numpy(), self.pipeline.sample_rate
        self._sample_faults = sample_faults(samples, rate, speed=self.task.request.speed)
        self._verifying_seconds += time.perf_counter() - started
        if settings.recognizer is None or self.recognize is None:
            self._judge_wave(Recognition())
        else:
            self._recognition = self.recognize(partial(settings.recognizer, samples, rate))
            self.update_phase()

    def _judge_wave(self, recognition: Recognition) -> None:
        """Deliver the whole audio, or begin another attempt for its faults."""
        faults = [*self._sample_faults, *recognition.faults]
        if not self.attempts.take_audio_faults(faults):
            self._deliver_whole(faults, recognition)
        else:
            self.restart_decoding()

    def _deliver_whole(self, faults: Sequence[Fault], recognition: Recognition) -> None:
        self._deliver_wave(torch.cat(self._waves), len(self.attempts.tokens), self.conditioned.skipped)
        report = self.attempts.report(faults, self._verifying_seconds)
        if report is not None:
            unchecked = (*report.unchecked, *recognition.unchecked)
            report = replace(report, unchecked=unchecked, speaker_similarity=recognition.speaker_similarity)
        self.finish(report)

    def _faults_of_chunks(self) -> list[Fault]:
        samples = np.concatenate([speech.samples for speech in self.delivered])
        return sample_faults(samples, self.delivered[0].sample_rate, speed=self.task.request.speed)

    def restart_decoding(self) -> None:
        """Begin the second stage again with the tokens that are there."""
        self._acoustic, self._in_acoustic, self._acoustic_finished = None, 0, False
        self._repeated_chunks, self._waves, self._words = len(self.delivered), [], []
        if hasattr(self, "conditioned"):
            self._feed()
        self.update_phase()

    def fail(self, error: Exception) -> None:
        """Tell the listener, once, that no more chunks come."""
        if not self.ended:
            self.ended = True
            self.listener.on_error(error)

    def finish(self, report: VerificationReport | None = None) -> None:
        """Tell the listener, once, that all chunks were delivered."""
        if not self.ended:
            self.ended = True
            self.report = report
            self.listener.on_end(
                UtteranceTotals(
                    samples=sum(len(speech.samples) for speech in self.delivered),
                    sample_rate=self.delivered[0].sample_rate,
                    tokens=sum(speech.tokens for speech in self.delivered),
                    skipped=[place for speech in self.delivered for place in speech.skipped],
                    seconds=time.monotonic() - self._submitted_at,
                    verification=report,
                )
            )

    def deliver(self, speech: Speech) -> None:
        """Hand the listener a chunk."""
        self.delivered.append(speech)
        self.scheduled.delivered(time.monotonic(), len(speech.samples) / speech.sample_rate)
        self.listener.on_chunk(speech)
        if self.scheduled.live and len(self.delivered) == 1:
            time.sleep(YIELD_SECONDS)

    def _feed(self) -> None:
        """Give the second stage the tokens that it has not had."""
        if self._acoustic is None:
            self._acoustic = self.pipeline.open_stream(self.conditioned, self.chunks)
            self._timer = self.conditioned.word_timer()
            self._levels = PeakLevels(self.pipeline.sample_rate)
            if self.work_beside and isinstance(self._acoustic, BatchableStream) and self._acoustic.can_begin_early:
                self.work_beside(self._acoustic.begin)
        attempts = self.attempts
        if self._in_acoustic < attempts.released:
            self._acoustic.add(attempts.tokens[self._in_acoustic : attempts.released])
            self._in_acoustic = attempts.released
        if attempts.finished and not self._acoustic_finished:
            if not attempts.tokens:
                raise nothing_spoken(self.conditioned)
            self._acoustic.finish()
            self._acoustic_finished = True

    def _take_piece(self, piece: AudioPiece) -> None:
        """Deliver a piece of audio, unless it was delivered before or belongs to one chunk with all others."""
        assert self._timer is not None
        self._words += self._timer.add(piece.spoken, self._levels.add(piece.wave), last=piece.last)
        if self.chunks is None:
            self._waves.append(piece.wave)
        elif self._repeated_chunks:
            self._repeated_chunks -= 1
            self._words.clear()
        else:
            self._deliver_wave(piece.wave, piece.tokens, [] if self.delivered else self.conditioned.skipped)

    def _deliver_wave(self, wave: Tensor, tokens: int, skipped: Sequence[tuple[int, str]]) -> None:
        words, self._words = self._words, []
        self.deliver(self.pipeline.to_speech(wave, tokens, self.task.request, skipped, words))
