"""Streams of an engine as their listeners experience them; for `scripts/bench speech` and `scripts/bench gpu`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from GPT_SoVITS.engine.speech_engine import SpeechEngine
from GPT_SoVITS.engine.utterance import UtteranceTask, UtteranceTotals
from GPT_SoVITS.engine.warm_up import neutral_prompt
from GPT_SoVITS.pipeline import EncodedPrompt, Pipeline, Speech, SynthesisRequest

BASE = Path(__file__).resolve().parent.parent / "GPT_SoVITS" / "base"
TEXTS = (
    "The quick brown fox jumps over the lazy dog, and then it sleeps for a while in the sun.",
    "Good evening, and welcome to the news of this hour from all over the country.",
    "The last train to the coast leaves at nine, so please be at the station in time.",
    "It was a bright cold day in April, and the clocks were striking thirteen.",
)


@dataclass(eq=False)
class PlaybackClock:
    """A listener that plays what it has from the first chunk on."""

    begun_at: float = field(default_factory=time.perf_counter)
    first_audio: float = 0.0
    """Seconds after the request."""
    underruns: int = 0
    seconds: float = 0.0
    """Of audio."""
    ended: Event = field(default_factory=Event)
    error: Exception | None = None
    played_until: float = 0.0

    def on_chunk(self, speech: Speech) -> None:
        """Note when a chunk came."""
        self.note(len(speech.samples) / speech.sample_rate)

    def note(self, seconds: float) -> None:
        """Note that so many seconds of audio came now."""
        now = time.perf_counter()
        if not self.seconds:
            self.first_audio = now - self.begun_at
            self.played_until = now
        elif now > self.played_until:
            self.underruns += 1
            self.played_until = now
        self.played_until += seconds
        self.seconds += seconds

    def on_end(self, totals: UtteranceTotals) -> None:
        """Note the end."""
        self.ended.set()

    def on_error(self, error: Exception) -> None:
        """Note the end."""
        self.error = error
        self.ended.set()

    def wait(self) -> PlaybackClock:
        """Wait for the end."""
        self.ended.wait()
        if self.error is not None:
            raise self.error
        return self


def base_voice(device: str = "cpu", precision: str = "auto") -> tuple[Pipeline, EncodedPrompt]:
    """Load nano's base with a neutral style."""
    pipeline = Pipeline.load(BASE / "gpt.safetensors", BASE / "sovits.safetensors", device=device, precision=precision)
    return pipeline, neutral_prompt(pipeline)


def play(engine: SpeechEngine, voice: tuple[Pipeline, EncodedPrompt], count: int) -> list[PlaybackClock]:
    """Speak so many utterances at once and return their listeners at the end."""
    clocks = []
    for number in range(count):
        clocks.append(PlaybackClock())
        request = SynthesisRequest(TEXTS[number % len(TEXTS)], "en", voice[1], number)
        engine.submit(UtteranceTask(voice[0], request, voice[0].default_chunks), clocks[-1])
    return [clock.wait() for clock in clocks]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of the values is."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
