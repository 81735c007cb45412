"""The samples of an inference's utterances on their way into its file: leveled, marked, encoded."""

from __future__ import annotations

import wave
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from core.marks.speech_marks import SpeechMarker
from core.media.leveling import LevelSettings, SpeechLeveler, gain_to, samples_of
from core.media.loudness import LoudnessMeter
from core.media.resample import Resampler
from core.speech.requests import UtteranceRequest
from roles.speech.speech_file import SpeechFile

BLOCK_FRAMES: Final = 1 << 16


class UtteranceAudio(NamedTuple):
    """An utterance that was stored."""

    request: UtteranceRequest
    path: Path

    def blocks(self, rate: int) -> Iterator[bytes]:
        """Yield its samples at a rate in Hz."""
        with closing(wave.open(str(self.path), "rb")) as source:
            blocks = iter(partial(source.readframes, BLOCK_FRAMES), b"")
            if source.getframerate() == rate:
                yield from blocks
                return
            resampler = Resampler(source.getframerate(), rate)
            yield from map(resampler.feed, blocks)
            yield resampler.finish()


class JoinedSpeech:
    """Levels, marks and writes utterances one behind the other, with silence between them."""

    def __init__(self, output: SpeechFile, marker: SpeechMarker, rate: int, leveler: SpeechLeveler | None) -> None:
        """`rate`: of all samples, in Hz."""
        self.rate = rate
        self._output = output
        self._marker = marker
        self._leveler = leveler
        opening = marker.opening()
        output.write(opening)
        self.opening_seconds = len(opening) / 2 / rate
        """Of the signal before the speech."""
        self._frames = len(opening) // 2
        """Samples of the file."""
        self._given = 0
        """Samples that were added, before silence was trimmed."""

    @property
    def seconds(self) -> float:
        """Length of the file."""
        return self._frames / self.rate

    @property
    def position(self) -> float:
        """Seconds that were added, and what is heard before them."""
        return self.opening_seconds + self._given / self.rate

    @property
    def trimmed_seconds(self) -> float:
        """Silence that was dropped at the beginning."""
        return 0.0 if self._leveler is None else self._leveler.trimmed_seconds

    def add(self, samples: bytes, request: UtteranceRequest) -> None:
        """Add samples of an utterance, or the silence before it."""
        self._given += len(samples) // 2
        if self._leveler is not None:
            samples = self._leveler.feed(samples, request.voice_id, request.loudness)
        self._write(samples)

    def end_utterance(self, request: UtteranceRequest) -> None:
        """Write the rest of an utterance."""
        if self._leveler is not None:
            self._write(self._leveler.end_utterance(request.voice_id, request.loudness))

    def _write(self, samples: bytes) -> None:
        self._frames += len(samples) // 2
        self._output.write(self._marker.feed(samples))


def voice_gains(utterances: Sequence[UtteranceAudio], rate: int) -> dict[str, float]:
    """Return the gain in dB that brings all that each voice says to its loudness; voices without one are left out."""
    meters: dict[str, LoudnessMeter] = {}
    targets: dict[str, float] = {}
    for utterance in utterances:
        voice, loudness = utterance.request.voice_id, utterance.request.loudness
        if loudness is None:
            continue
        targets[voice] = loudness
        meter = meters.setdefault(voice, LoudnessMeter(rate))
        for block in utterance.blocks(rate):
            meter.add(samples_of(block))
        meter.end_hop()
    measured = {voice: meter.integrated() for voice, meter in meters.items()}
    return {voice: 0.0 if level is None else gain_to(targets[voice], level) for voice, level in measured.items()}


def new_leveler(utterances: Sequence[UtteranceAudio], rate: int, settings: LevelSettings) -> SpeechLeveler | None:
    """Return what levels utterances, each voice by one gain for all that it says; None where there is nothing to do."""
    gains = voice_gains(utterances, rate)
    if not gains and not settings.trim_silence:
        return None
    return SpeechLeveler(rate, settings, gains=gains)
