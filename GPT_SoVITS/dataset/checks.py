"""What is wrong with a recording before anyone trains on it: level, length, speech, language, words, speaker.

Every check answers flags; `GPT_SoVITS.dataset.compare` has those that need all recordings at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from GPT_SoVITS.audio import resample
from GPT_SoVITS.dataset.fingerprint import fingerprint
from GPT_SoVITS.dataset.transcribe import Transcriber, speech_spans
from GPT_SoVITS.dataset.word_errors import error_rate
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.resemblyzer import SpeakerEncoder

SAMPLE_RATE = 16_000
FRAME_SECONDS = 0.05
SILENCE = 10 ** (-50 / 20)
"""RMS of a frame that nobody hears."""
FLAT_SAMPLES = 4
"""So many samples in a row at the peak are no sound of nature."""
FLAT = 0.999
FULL = 0.985
"""What a lossy format makes of a clipped peak still comes so near to full scale."""
BACKGROUND_DB = 10.0
"""Pauses less quiet than this, against the speech, are not pauses."""
LEAST_PAUSE = 0.3
"""Seconds of pauses that say something about the background."""
SURE_OF_LANGUAGE = 0.6
UNLIKELY_LANGUAGE = 0.3
SHORTEST_VOICE = 1.0
"""Seconds of speech below which neither a language nor a voice is recognised reliably."""
SAME_FOR_WHISPER = {"yue": "zh"}
"""The small recognisers know no Cantonese of its own."""


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on something is bad."""

    shortest_seconds: float = 0.6
    longest_seconds: float = 54.0
    clipped_share: float = 0.001
    speech_share: float = 0.5
    speaker_similarity: float = 0.7
    word_errors: float = 0.5


@dataclass(frozen=True, slots=True)
class Flag:
    """One thing that is wrong."""

    code: str
    message: str
    """A sentence that says by how much."""
    value: float | None = None
    """The number it was judged by."""
    other: int | None = None
    """The other recording, where there is one."""

    def as_dict(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.value is not None:
            shown["value"] = round(self.value, 4)
        if self.other is not None:
            shown["other"] = self.other
        return shown


@dataclass(slots=True)
class Look:
    """What was found in one recording."""

    flags: list[Flag] = field(default_factory=list)
    measures: dict[str, Any] = field(default_factory=dict)
    """What people like to see: heard, language, speech_share, peak …"""
    voice: np.ndarray | None = None
    """(256,) speaker embedding; None where too little is said."""
    print: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint32))

    def add(self, code: str, message: str, value: float | None = None) -> None:
        self.flags.append(Flag(code, message, value))


class Checker:
    """One recording after the other, by judges that are loaded. Without a recogniser nobody listens to words."""

    def __init__(self, limits: Limits, speakers: SpeakerEncoder, recogniser: Transcriber | None = None) -> None:
        self.limits = limits
        self.speakers = speakers
        self.recogniser = recogniser

    def look(self, samples: np.ndarray, rate: int, transcript: str = "", language: str = "") -> Look:
        """(N,) float32 in [-1, 1] and what should be said in it. Without a language none is wrong."""
        found = Look()
        seconds = len(samples) / rate
        if not self._level(found, samples, rate, seconds):
            return found
        heard = resample(samples, rate, SAMPLE_RATE)
        found.print = fingerprint(heard)
        spans = speech_spans(heard)
        speech = sum(end - start for start, end in spans)
        if self._speech(found, heard, spans) and speech >= SHORTEST_VOICE:
            found.voice = self._voice(heard)
        if speech and self.recogniser is not None:
            self._words(found, self.recogniser, heard, transcript, language, sure=speech >= SHORTEST_VOICE)
        return found

    def _level(self, found: Look, samples: np.ndarray, rate: int, seconds: float) -> bool:
        """Length, silence, clipping; whether there is anything to hear."""
        loudest = float(np.abs(samples).max(initial=0.0))
        clipped = clipped_share(samples)
        found.measures.update(seconds=round(seconds, 3), peak=round(loudest, 4), clipped_share=round(clipped, 6))
        if seconds < self.limits.shortest_seconds:
            least = self.limits.shortest_seconds
            found.add("too_short", f"It lasts {seconds:.2f} s; training takes {least:g} s or more.", seconds)
        if seconds > self.limits.longest_seconds:
            most = self.limits.longest_seconds
            found.add("too_long", f"It lasts {seconds:.1f} s; training takes {most:g} s or less.", seconds)
        if is_silent(samples, rate):
            found.add("silent", "Nothing can be heard in it: it never gets louder than -50 dB.", loudest)
            return False
        if clipped > self.limits.clipped_share:
            found.add("clipped", f"{clipped:.2%} of its samples are cut off at the highest level.", clipped)
        return True

    def _speech(self, found: Look, heard: np.ndarray, spans: Sequence[tuple[float, float]]) -> bool:
        """Whether what sounds is mostly speech."""
        share = speech_share(heard, spans)
        found.measures["speech_share"] = round(share, 3)
        if share < self.limits.speech_share:
            found.add("music", f"{share:.0%} of what sounds is speech; the rest is music or noise.", share)
            return False
        distance = pause_depth(heard, spans)
        if distance is not None:
            found.measures["speech_over_background_db"] = round(distance, 1)
            clipped = any(flag.code == "clipped" for flag in found.flags)  # then the detector misses words
            if distance < BACKGROUND_DB and not clipped:
                message = f"Its pauses are only {max(0.0, distance):.0f} dB quieter than its speech: music or noise."
                found.add("background", message, distance)
        return True

    def _voice(self, heard: np.ndarray) -> np.ndarray | None:
        try:
            return self.speakers.embed(heard)
        except ModelError:  # nothing audible by its own measure
            return None

    def _words(
        self, found: Look, recogniser: Transcriber, heard: np.ndarray, transcript: str, language: str, *, sure: bool
    ) -> None:
        """Language and transcript, by what the recogniser hears."""
        spoken, probability, every = recogniser.model.detect_language(heard)
        found.measures.update(language=spoken, language_probability=round(float(probability), 3))
        wanted = SAME_FOR_WHISPER.get(language, language)
        likely = dict(every).get(wanted, 0.0)
        if sure and wanted and spoken != wanted and probability >= SURE_OF_LANGUAGE and likely < UNLIKELY_LANGUAGE:
            message = f"It is {spoken} by its sound ({probability:.0%} sure), not {language}."
            found.add("wrong_language", message, float(probability))
            return
        result = recogniser.transcribe(heard, wanted or spoken)
        found.measures.update(heard=result.text, confidence=round(result.confidence, 3))
        if not transcript:
            return
        wrong = min(error_rate(transcript, result.text, language or spoken), 9.99)
        found.measures["word_errors"] = round(wrong, 3)
        if wrong > self.limits.word_errors:
            found.add("wrong_transcript", f"{wrong:.0%} of the words differ; heard: {_short(result.text)!r}.", wrong)


def is_silent(samples: np.ndarray, rate: int) -> bool:
    """No frame of 50 ms is louder than −50 dB of full scale; an offset is no sound."""
    size = max(1, round(FRAME_SECONDS * rate))
    whole = samples[: len(samples) // size * size].reshape(-1, size)
    return not len(samples) or float(whole.std(axis=1).max(initial=0.0) if len(whole) else samples.std()) < SILENCE


def clipped_share(samples: np.ndarray) -> float:
    """Share of samples that lie in flat tops of the wave, or next to full scale; 0 to 1."""
    loudest = float(np.abs(samples).max(initial=0.0))
    if loudest < 0.05:
        return 0.0
    flat = sum(_in_runs(side * samples >= FLAT * loudest, FLAT_SAMPLES) for side in (1, -1))
    full = int(np.count_nonzero(np.abs(samples) >= FULL)) if loudest >= FULL else 0
    return max(flat, full) / len(samples)


def speech_share(samples: np.ndarray, spans: Sequence[tuple[float, float]]) -> float:
    """How much of what sounds in (N,) at 16 kHz lies where somebody speaks; 0 to 1."""
    levels = _levels(samples)
    sounding = levels > SILENCE
    speaking = _speaking(len(levels), spans)
    total = int(np.count_nonzero(sounding))
    return int(np.count_nonzero(sounding & speaking)) / total if total else 0.0


def pause_depth(samples: np.ndarray, spans: Sequence[tuple[float, float]]) -> float | None:
    """How many dB the pauses lie below the speech; None when there are hardly any pauses."""
    power = np.square(_levels(samples))
    speaking = _speaking(len(power), spans)
    # The frame on either side of a change is neither.
    pause = ~(speaking | np.roll(speaking, 1) | np.roll(speaking, -1))
    if np.count_nonzero(pause) * FRAME_SECONDS < LEAST_PAUSE or not speaking.any():
        return None
    # The median: a breath or a word that the detector missed is no background.
    return float(10 * np.log10(max(power[speaking].mean(), 1e-12) / max(float(np.median(power[pause])), 1e-12)))


def _levels(samples: np.ndarray) -> np.ndarray:
    """(frames,) RMS around each frame's mean."""
    size = round(FRAME_SECONDS * SAMPLE_RATE)
    return samples[: len(samples) // size * size].reshape(-1, size).std(axis=1)


def _speaking(frames: int, spans: Sequence[tuple[float, float]]) -> np.ndarray:
    marks = np.zeros(frames, bool)
    for start, end in spans:
        marks[int(start / FRAME_SECONDS) : int(np.ceil(end / FRAME_SECONDS))] = True
    return marks


def _in_runs(marks: np.ndarray, shortest: int) -> int:
    """How many of the marks stand in rows of at least `shortest`."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], marks.astype(np.int8), [0]))))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths >= shortest].sum())


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"
