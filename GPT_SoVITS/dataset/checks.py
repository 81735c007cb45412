"""Check a recording before anyone trains on it: level, length, speech, language, words.

Every check adds flags; `GPT_SoVITS.dataset.compare` has those that need all recordings at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from GPT_SoVITS.audio import peak, resample
from GPT_SoVITS.dataset.fingerprint import fingerprint
from GPT_SoVITS.dataset.transcribe import Transcriber, speech_spans
from GPT_SoVITS.dataset.word_errors import error_rate
from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features.resemblyzer import SpeakerEncoder

SAMPLE_RATE = 16_000
"""Hz."""
FRAME_SECONDS = 0.05
SILENCE_RMS = 10 ** (-50 / 20)
"""RMS of a frame that nobody hears: −50 dB of full scale."""
MIN_FLAT_SAMPLES = 4
"""So many samples in a row at the peak do not occur in natural audio."""
FLAT_SHARE_OF_PEAK = 0.999
NEAR_FULL_SCALE = 0.985
"""What a lossy format makes of a clipped peak still comes so near to full scale."""
MIN_PAUSE_DEPTH_DB = 10.0
"""Pauses less quiet than this, against the speech, are not pauses."""
MIN_PAUSE_SECONDS = 0.3
"""Seconds of pauses that say something about the background."""
SURE_LANGUAGE_PROBABILITY = 0.6
UNLIKELY_LANGUAGE_PROBABILITY = 0.3
MIN_SPEECH_SECONDS = 1.0
"""Seconds of speech below which neither a language nor a speaker is recognized reliably."""
MAX_WORD_ERRORS_SHOWN = 9.99
RECOGNIZER_LANGUAGES = {"yue": "zh"}
"""Languages that small recognizers know under another code."""


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """The borders of what is good enough; shares are 0 to 1."""

    shortest_seconds: float = 0.6
    longest_seconds: float = 54.0
    clipped_share: float = 0.001
    speech_share: float = 0.5
    speaker_similarity: float = 0.7
    word_errors: float = 0.5


@dataclass(frozen=True, slots=True)
class QualityFlag:
    """One thing that is wrong with a recording."""

    code: str
    message: str
    """A sentence that says by how much."""
    value: float | None = None
    """The number that was compared with a limit."""
    other: int | None = None
    """The other recording, where there is one."""

    def as_dict(self) -> dict[str, Any]:
        """Return the flag as JSON, with `value` rounded and without fields that are None."""
        document: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.value is not None:
            document["value"] = round(self.value, 4)
        if self.other is not None:
            document["other"] = self.other
        return document


@dataclass(slots=True)
class QualityMeasures:
    """What was measured of a recording, rounded for people; None for what was not."""

    seconds: float | None = None
    peak: float | None = None
    clipped_share: float | None = None
    speech_share: float | None = None
    speech_over_background_db: float | None = None
    language: str | None = None
    """As recognized."""
    language_probability: float | None = None
    transcript: str | None = None
    """As recognized."""
    confidence: float | None = None
    word_errors: float | None = None
    speaker_similarity: float | None = None
    """To the main speaker of the data set, −1 to 1."""

    def as_dict(self) -> dict[str, Any]:
        """Return the measures as JSON without those that are None; the transcript is `heard`."""
        measures = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            "heard" if name == "transcript" else name: value for name, value in measures.items() if value is not None
        }


@dataclass(slots=True)
class RecordingCheck:
    """The result of checking one recording."""

    flags: list[QualityFlag] = field(default_factory=list)
    measures: QualityMeasures = field(default_factory=QualityMeasures)
    speaker: np.ndarray | None = None
    """(256,) speaker embedding; None where too little is said."""
    fingerprint: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint32))
    """(frames,) uint32."""

    def add(self, code: str, message: str, value: float | None = None) -> None:
        """Add a flag."""
        self.flags.append(QualityFlag(code, message, value))


class RecordingChecker:
    """Checks one recording after the other with loaded models; without a recognizer words are not checked."""

    def __init__(self, limits: QualityLimits, speakers: SpeakerEncoder, recognizer: Transcriber | None = None) -> None:
        self.limits = limits
        self.speakers = speakers
        self.recognizer = recognizer

    def check(self, samples: np.ndarray, rate: int, transcript: str = "", language: str = "") -> RecordingCheck:
        """Check (N,) float32 in [-1, 1] against its transcript and language; "" for one that is not known."""
        result = RecordingCheck()
        if not self._check_level(result, samples, rate):
            return result
        audio = resample(samples, rate, SAMPLE_RATE)
        result.fingerprint = fingerprint(audio)
        spans = speech_spans(audio)
        speech_seconds = sum(end - start for start, end in spans)
        if self._check_speech(result, audio, spans) and speech_seconds >= MIN_SPEECH_SECONDS:
            try:
                result.speaker = self.speakers.embed(audio)
            except ModelError:  # nothing audible by its own measure
                result.speaker = None
        if speech_seconds and self.recognizer is not None:
            self._check_words(result, self.recognizer, audio, transcript, language, speech_seconds)
        return result

    def _check_level(self, result: RecordingCheck, samples: np.ndarray, rate: int) -> bool:
        """Check length, silence and clipping; return whether anything can be heard."""
        seconds = len(samples) / rate
        highest = peak(samples)
        clipped = clipped_share(samples)
        result.measures.seconds = round(seconds, 3)
        result.measures.peak = round(highest, 4)
        result.measures.clipped_share = round(clipped, 6)
        if seconds < self.limits.shortest_seconds:
            least = self.limits.shortest_seconds
            result.add("too_short", f"It lasts {seconds:.2f} s; training takes {least:g} s or more.", seconds)
        if seconds > self.limits.longest_seconds:
            most = self.limits.longest_seconds
            result.add("too_long", f"It lasts {seconds:.1f} s; training takes {most:g} s or less.", seconds)
        if is_silent(samples, rate):
            result.add("silent", "Nothing can be heard in it: it never gets louder than -50 dB.", highest)
            return False
        if clipped > self.limits.clipped_share:
            result.add("clipped", f"{clipped:.2%} of its samples are cut off at the highest level.", clipped)
        return True

    def _check_speech(self, result: RecordingCheck, audio: np.ndarray, spans: Sequence[tuple[float, float]]) -> bool:
        """Return whether what sounds is mostly speech; flag a background that its pauses do not silence."""
        share = speech_share(audio, spans)
        result.measures.speech_share = round(share, 3)
        if share < self.limits.speech_share:
            result.add("music", f"{share:.0%} of what sounds is speech; the rest is music or noise.", share)
            return False
        depth = pause_depth(audio, spans)
        if depth is not None:
            result.measures.speech_over_background_db = round(depth, 1)
            clipped = any(flag.code == "clipped" for flag in result.flags)  # then the detector misses words
            if depth < MIN_PAUSE_DEPTH_DB and not clipped:
                message = f"Its pauses are only {max(0.0, depth):.0f} dB quieter than its speech: music or noise."
                result.add("background", message, depth)
        return True

    def _check_words(
        self,
        result: RecordingCheck,
        recognizer: Transcriber,
        audio: np.ndarray,
        transcript: str,
        language: str,
        speech_seconds: float,
    ) -> None:
        """Check the language, and where it is the expected one the transcript."""
        spoken, probability, probabilities = recognizer.detect_language(audio)
        result.measures.language = spoken
        result.measures.language_probability = round(probability, 3)
        expected = RECOGNIZER_LANGUAGES.get(language, language)
        is_other = expected and spoken != expected and probability >= SURE_LANGUAGE_PROBABILITY
        is_unlikely = probabilities.get(expected, 0.0) < UNLIKELY_LANGUAGE_PROBABILITY
        if speech_seconds >= MIN_SPEECH_SECONDS and is_other and is_unlikely:
            message = f"It is {spoken} by its sound ({probability:.0%} sure), not {language}."
            result.add("wrong_language", message, probability)
            return
        recognized = recognizer.transcribe(audio, expected or spoken)
        result.measures.transcript = recognized.text
        result.measures.confidence = round(recognized.confidence, 3)
        if not transcript:
            return
        wrong = min(error_rate(transcript, recognized.text, language or spoken), MAX_WORD_ERRORS_SHOWN)
        result.measures.word_errors = round(wrong, 3)
        if wrong > self.limits.word_errors:
            excerpt = recognized.text if len(recognized.text) <= 80 else f"{recognized.text[:79]}…"
            result.add("wrong_transcript", f"{wrong:.0%} of the words differ; heard: {excerpt!r}.", wrong)


def is_silent(samples: np.ndarray, rate: int) -> bool:
    """Return whether no frame of 50 ms is louder than −50 dB of full scale; an offset is no sound."""
    size = max(1, round(FRAME_SECONDS * rate))
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    if not len(samples):
        return True
    loudest = frames.std(axis=1).max(initial=0.0) if len(frames) else samples.std()
    return float(loudest) < SILENCE_RMS


def clipped_share(samples: np.ndarray) -> float:
    """Return the share of samples in flat tops of the wave, or next to full scale; 0 to 1."""
    highest = peak(samples)
    if highest < 0.05:
        return 0.0
    flat = 0
    for sign in (1, -1):
        at_peak = (sign * samples >= FLAT_SHARE_OF_PEAK * highest).astype(np.int8)
        edges = np.flatnonzero(np.diff(np.concatenate(([0], at_peak, [0]))))
        run_lengths = edges[1::2] - edges[::2]
        flat += int(run_lengths[run_lengths >= MIN_FLAT_SAMPLES].sum())
    full = int(np.count_nonzero(np.abs(samples) >= NEAR_FULL_SCALE)) if highest >= NEAR_FULL_SCALE else 0
    return max(flat, full) / len(samples)


def speech_share(samples: np.ndarray, spans: Sequence[tuple[float, float]]) -> float:
    """Return how much of what sounds in (N,) at 16 kHz lies within the (start, end) seconds of speech; 0 to 1."""
    levels = _frame_levels(samples)
    sounding = levels > SILENCE_RMS
    total = int(np.count_nonzero(sounding))
    return int(np.count_nonzero(sounding & _speech_frames(len(levels), spans))) / total if total else 0.0


def pause_depth(samples: np.ndarray, spans: Sequence[tuple[float, float]]) -> float | None:
    """Return how many dB the pauses lie below the speech; None when there are hardly any pauses."""
    power = np.square(_frame_levels(samples))
    speech = _speech_frames(len(power), spans)
    # The frame on either side of a change is neither.
    pause = ~(speech | np.roll(speech, 1) | np.roll(speech, -1))
    if np.count_nonzero(pause) * FRAME_SECONDS < MIN_PAUSE_SECONDS or not speech.any():
        return None
    # The median: a breath or a word that the detector missed is no background.
    return float(10 * np.log10(max(power[speech].mean(), 1e-12) / max(float(np.median(power[pause])), 1e-12)))


def _frame_levels(samples: np.ndarray) -> np.ndarray:
    """Return (frames,) RMS around each frame's mean."""
    size = round(FRAME_SECONDS * SAMPLE_RATE)
    levels: np.ndarray = samples[: len(samples) // size * size].reshape(-1, size).std(axis=1)
    return levels


def _speech_frames(count: int, spans: Sequence[tuple[float, float]]) -> np.ndarray:
    """Return (count,) bool: which frames have speech."""
    frames = np.zeros(count, bool)
    for start, end in spans:
        frames[int(start / FRAME_SECONDS) : int(np.ceil(end / FRAME_SECONDS))] = True
    return frames
