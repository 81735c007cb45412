"""An utterance on its way through both stages."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future

import torch
from torch import Tensor

from GPT_SoVITS.engine.scheduler import Phase, ScheduledUtterance
from GPT_SoVITS.engine.utterance import Urgency, UtteranceListener, UtteranceTask, UtteranceTotals
from GPT_SoVITS.pipeline import Speech, nothing_spoken
from GPT_SoVITS.synthesis.acoustic_decoder import AcousticStream, AudioPiece
from GPT_SoVITS.synthesis.conditioning import ConditionedRequest
from GPT_SoVITS.synthesis.word_timing import SpokenWord, WordTimer
from GPT_SoVITS.text import PhonemizedText


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
        self._tokens: list[int] = []
        self._tokens_finished = False
        self._acoustic: AcousticStream | None = None
        self._in_acoustic = 0
        """Tokens that the second stage was given."""
        self._acoustic_finished = False
        self._repeated_chunks = 0
        """Chunks that the second stage will make again."""
        self._waves: list[Tensor] = []
        """Pieces of an utterance that is delivered as one chunk."""
        self._timer: WordTimer | None = None
        self._words: list[SpokenWord] = []
        """Words of pieces that were not delivered yet."""

    def update_phase(self) -> None:
        """Tell the scheduler what the utterance needs next."""
        scheduled = self.scheduled
        if not hasattr(self, "conditioned"):
            scheduled.phase = Phase.READY if self.phonemes.done() else Phase.BLOCKED
        elif self._acoustic is not None and self._acoustic.ready:
            scheduled.phase = Phase.READY
        elif scheduled.in_batch:
            scheduled.phase = Phase.GENERATING
        else:
            scheduled.phase = Phase.BLOCKED if self._tokens_finished else Phase.WAITING

    def advance(self) -> None:
        """Do one slice of the utterance's own work: condition it, or decode some audio. Raises ModelError."""
        if not hasattr(self, "conditioned"):
            with torch.inference_mode():
                self.conditioned = self.pipeline.conditioner.condition(self.task.request, self.phonemes.result())
            self.chunks = self.pipeline.possible_chunks(self.task.request, self.chunks)
            self.scheduled.phase = Phase.WAITING
            self._feed()
            return
        assert self._acoustic is not None
        piece = self._acoustic.advance()
        if piece is not None:
            self._take_piece(piece)
        if self._acoustic_finished and not self._acoustic.ready:
            if self.chunks is None:
                self._deliver_wave(torch.cat(self._waves), len(self._tokens), self.conditioned.skipped)
            self.finish()
        else:
            self.update_phase()

    def take_tokens(self, tokens: Sequence[int], *, finished: bool = False) -> None:
        """Take all tokens so far. Raises ModelError("nothing_spoken")."""
        self._tokens += tokens[len(self._tokens) :]
        if finished:
            self._tokens_finished, self.scheduled.in_batch = True, False
        self._feed()
        self.update_phase()

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

    def finish(self) -> None:
        """Tell the listener, once, that all chunks were delivered."""
        if not self.ended:
            self.ended = True
            self.listener.on_end(
                UtteranceTotals(
                    samples=sum(len(speech.samples) for speech in self.delivered),
                    sample_rate=self.delivered[0].sample_rate,
                    tokens=sum(speech.tokens for speech in self.delivered),
                    skipped=[place for speech in self.delivered for place in speech.skipped],
                    seconds=time.monotonic() - self._submitted_at,
                )
            )

    def deliver(self, speech: Speech) -> None:
        """Hand the listener a chunk."""
        self.delivered.append(speech)
        self.scheduled.delivered(time.monotonic(), len(speech.samples) / speech.sample_rate)
        self.listener.on_chunk(speech)

    def _feed(self) -> None:
        """Give the second stage the tokens that it has not had."""
        if self._acoustic is None:
            self._acoustic = self.pipeline.open_stream(self.conditioned, self.chunks)
            self._timer = self.conditioned.word_timer()
        if self._in_acoustic < len(self._tokens):
            self._acoustic.add(self._tokens[self._in_acoustic :])
            self._in_acoustic = len(self._tokens)
        if self._tokens_finished and not self._acoustic_finished:
            if not self._tokens:
                raise nothing_spoken(self.conditioned)
            self._acoustic.finish()
            self._acoustic_finished = True

    def _take_piece(self, piece: AudioPiece) -> None:
        """Deliver a piece of audio, unless it was delivered before or belongs to one chunk with all others."""
        assert self._timer is not None
        self._words += self._timer.add(piece.spoken, last=piece.last)
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
