"""The words of speech: how each is written in the text of the request, and when it is heard."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NotRequired, Protocol, TypeAlias

from typing_extensions import TypedDict

from common.text_origins import source_position, written_text
from core.speech.requests import MarkTiming, UtteranceRequest


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
    voice_id: NotRequired[str]
    """Of the voice that speaks it; in events of live speech."""


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


class MarkTimer:
    """Tells when the marks of an utterance are reached: each with the word that follows it."""

    def __init__(self, request: UtteranceRequest) -> None:
        self._length = len(request.text)
        self._pending = deque(request.marks)
        self._delay = request.silence_before
        self._silence = request.silence_after
        self._timings: list[MarkTiming] = []
        self._end = 0.0

    def add(self, words: Iterable[HeardWord]) -> None:
        """Read words of the utterance, in order."""
        for word in words:
            while self._pending and self._pending[0][1] <= word.text_start:
                self._note(self._pending.popleft()[0], word.start)
            self._end = word.end

    def finish(self) -> list[MarkTiming]:
        """Return all marks; those behind the last word are reached at its end, or at that of the silence behind it."""
        for name, position in self._pending:
            self._note(name, self._end + (self._silence if position > self._length else 0.0))
        self._pending.clear()
        return self._timings

    def _note(self, name: str, seconds: float) -> None:
        self._timings.append({"name": name, "time": round(self._delay + seconds, 3)})


def delayed_marks(marks: Iterable[MarkTiming], seconds: float) -> list[MarkTiming]:
    """Return marks that are reached so much later, or earlier, but not before the beginning."""
    return [{"name": mark["name"], "time": _later(mark["time"], seconds)} for mark in marks]


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
    """Return words that are heard so much later, or earlier, but not before the beginning."""
    later: list[WordTiming] = []
    for word in words:
        moved = word.copy()
        moved["start"], moved["end"] = _later(word["start"], seconds), _later(word["end"], seconds)
        if "phonemes" in word:
            moved["phonemes"] = [
                {**phoneme, "start": _later(phoneme["start"], seconds), "end": _later(phoneme["end"], seconds)}
                for phoneme in word["phonemes"]
            ]
        later.append(moved)
    return later


def _later(time: float, seconds: float) -> float:
    return max(0.0, round(time + seconds, 3))
