"""The pitch and the volume that markup gives an utterance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import soxr

from common.limits import MAX_SPEED, MIN_SPEED
from core.media.peak_limiter import PeakLimiter
from core.speech.requests import UtteranceRequest

if TYPE_CHECKING:
    from GPT_SoVITS.pipeline import Speech
    from GPT_SoVITS.synthesis.word_timing import SpokenWord

CEILING_DB: Final = 0.0
"""dBTP of an utterance that is made louder."""


def synthesis_speed(request: UtteranceRequest) -> float:
    """Return the speed at which the model speaks: what is then played faster, to be higher, is spoken slower."""
    return min(max(request.speed / pitch_factor(request), MIN_SPEED), MAX_SPEED)


def pitch_factor(request: UtteranceRequest) -> float:
    """Return the ratio of the pitch of an utterance to the voice's own."""
    factor: float = 2 ** (request.pitch / 12)
    return factor


class UtteranceManner:
    """Changes the chunks of an utterance, each word with the samples in which it ends."""

    def __init__(self, request: UtteranceRequest, sample_rate: int) -> None:
        self._rate = sample_rate
        self._factor = pitch_factor(request)
        self._gain = request.gain
        self._stream = (
            soxr.ResampleStream(sample_rate * self._factor, sample_rate, 1, dtype="float32", quality="HQ")
            if request.pitch
            else None
        )
        self._limiter = PeakLimiter(sample_rate, CEILING_DB) if request.gain > 1 else None
        self._returned = 0
        self._words: tuple[SpokenWord, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether it is another one than the voice's own."""
        return self._stream is not None or self._gain != 1

    def feed(self, speech: Speech) -> Speech:
        """Return what of a chunk can be heard now."""
        samples = speech.samples
        if self._stream is not None:
            samples = self._stream.resample_chunk(samples.astype(np.float32))
        return self._finished(speech, samples, speech.words, last=False)

    def finish(self, last: Speech) -> Speech:
        """Return the rest; `last` is the chunk before it."""
        rest = np.zeros(0, dtype=np.float32)
        if self._stream is not None:
            rest = self._stream.resample_chunk(rest, last=True)
        return self._finished(last, rest, (), last=True)

    def _finished(self, speech: Speech, samples: np.ndarray, words: Sequence[SpokenWord], *, last: bool) -> Speech:
        if self._gain != 1:
            samples = samples * self._gain
        if self._limiter is not None:
            samples = self._limiter.feed(samples)
            if last:
                samples = np.concatenate([samples, self._limiter.flush()])
        self._returned += len(samples)
        self._words += tuple(self._retimed(word) for word in words)
        ended = tuple(word for word in self._words if last or word.end <= self._returned / self._rate)
        self._words = self._words[len(ended) :]
        return replace(speech, samples=samples, words=ended)

    def _retimed(self, word: SpokenWord) -> SpokenWord:
        phonemes = tuple(
            phoneme._replace(start=phoneme.start / self._factor, end=phoneme.end / self._factor)
            for phoneme in word.phonemes
        )
        return replace(word, start=word.start / self._factor, end=word.end / self._factor, phonemes=phonemes)
