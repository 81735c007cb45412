"""The words of speech: how each is written in the text of the request, and when it is heard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NotRequired, Protocol, TypeAlias

from typing_extensions import TypedDict

from common.text_origins import source_position, written_text
from core.speech.requests import UtteranceRequest


class PhonemeTiming(TypedDict):
    """A phoneme, and when it is heard."""

    phoneme: str
    start: float
    end: float


class WordTiming(TypedDict):
    """A word, where the text of the request has it, and when it is heard."""

    text: str
    """As it is written, with its punctuation and without markup."""
    text_start: int
    text_end: int
    """Characters of the text: words follow one another without a gap, so whitespace and tags belong to the one before
    them."""
    start: float
    end: float
    """Seconds from the start of the audio."""
    space_after: NotRequired[bool]
    """False where no whitespace follows in the text."""
    phonemes: NotRequired[list[PhonemeTiming]]


class HeardPhoneme(Protocol):
    """A phoneme as the synthesis returns it."""

    @property
    def phoneme(self) -> str: ...

    @property
    def start(self) -> float: ...

    @property
    def end(self) -> float: ...


class HeardWord(Protocol):
    """A word of an utterance as the synthesis returns it."""

    @property
    def text_start(self) -> int: ...

    @property
    def text_end(self) -> int: ...

    @property
    def start(self) -> float: ...

    @property
    def end(self) -> float: ...

    @property
    def phonemes(self) -> Sequence[HeardPhoneme]: ...


Words: TypeAlias = Sequence[WordTiming]


def word_timings(request: UtteranceRequest, words: Iterable[HeardWord]) -> list[WordTiming]:
    """Return words of an utterance with their places in the request's text, timed from the start of its audio."""
    text, origins, delay = request.text, request.origins, request.silence_before
    timings: list[WordTiming] = []
    for word in words:
        written = written_text(origins, text, word.text_start, word.text_end)
        ends = word.text_end >= len(text)
        timing: WordTiming = {
            "text": written.strip(),
            "text_start": source_position(origins, word.text_start) if word.text_start else request.text_start,
            "text_end": request.text_end or len(text) if ends else source_position(origins, word.text_end),
            "start": round(word.start + delay, 3),
            "end": round(word.end + delay, 3),
        }
        if not ends and not written[-1:].isspace():
            timing["space_after"] = False
        if request.timestamps == "phoneme":
            timing["phonemes"] = [
                {
                    "phoneme": phoneme.phoneme,
                    "start": round(phoneme.start + delay, 3),
                    "end": round(phoneme.end + delay, 3),
                }
                for phoneme in word.phonemes
            ]
        timings.append(timing)
    return timings


def delayed(words: Iterable[WordTiming], seconds: float) -> list[WordTiming]:
    """Return words that are heard so much later."""
    later: list[WordTiming] = []
    for word in words:
        moved = word.copy()
        moved["start"], moved["end"] = round(word["start"] + seconds, 3), round(word["end"] + seconds, 3)
        if "phonemes" in word:
            moved["phonemes"] = [
                {**phoneme, "start": round(phoneme["start"] + seconds, 3), "end": round(phoneme["end"] + seconds, 3)}
                for phoneme in word["phonemes"]
            ]
        later.append(moved)
    return later
