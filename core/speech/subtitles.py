"""Subtitles of speech: words with their times, as SRT, WebVTT or JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NotRequired, TypeAlias, get_args

import orjson
from typing_extensions import TypedDict

from core.speech.requests import MarkTiming
from core.speech.words import WordTiming

SubtitleFormat: TypeAlias = Literal["srt", "vtt", "json"]
SUBTITLE_FORMATS: Final[tuple[SubtitleFormat, ...]] = get_args(SubtitleFormat)
SUBTITLE_MEDIA_TYPES: Final[dict[SubtitleFormat, str]] = {
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
    "json": "application/json",
}
DEFAULT_LINE_CHARACTERS: Final = 42
MIN_LINE_CHARACTERS, MAX_LINE_CHARACTERS = 8, 200
LINES: Final = 2
"""Of a cue."""
PAUSE_SECONDS: Final = 1.0
"""A pause that ends a cue."""
_SENTENCE_END: Final = re.compile(r"[.!?。！？…][\"'”’」』）)\]]*$")
_ABBREVIATION: Final = re.compile(r"[\"'“‘(]*(?:Dr|Mr|Mrs|Ms|St|Prof|Sr|Jr|No|vs|[A-Za-z](?:\.[A-Za-z])*)\.$")
"""Words with a point that end no sentence."""


class TimedUtterance(TypedDict):
    """An utterance of a file of speech; times in seconds."""

    text: str
    start: float
    seconds: float
    words: list[WordTiming]
    marks: NotRequired[list[MarkTiming]]
    """Of the text, where it has any."""


@dataclass(frozen=True, slots=True)
class Cue:
    """What is shown at one time."""

    start: float
    end: float
    """Seconds."""
    lines: tuple[str, ...]


def subtitles(
    utterances: Iterable[TimedUtterance],
    subtitle_format: SubtitleFormat,
    max_line_characters: int = DEFAULT_LINE_CHARACTERS,
) -> bytes:
    """Return the subtitles of utterances as a file."""
    spoken = list(utterances)
    cues = [cue for utterance in spoken for cue in _cues(utterance["words"], max_line_characters)]
    if subtitle_format == "json":
        shown = [{"start": cue.start, "end": cue.end, "text": "\n".join(cue.lines)} for cue in cues]
        words = [word for utterance in spoken for word in utterance["words"]]
        marks = [mark for utterance in spoken for mark in utterance.get("marks", ())]
        return orjson.dumps(
            {"cues": shown, "words": words, **({"marks": marks} if marks else {})}, option=orjson.OPT_INDENT_2
        )
    if subtitle_format == "srt":
        blocks = [
            f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n" + "\n".join(cue.lines)
            for number, cue in enumerate(cues, 1)
        ]
        return "".join(f"{block}\n\n" for block in blocks).encode()
    blocks = [
        f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n" + "\n".join(map(_escape, cue.lines)) for cue in cues
    ]
    return ("\n\n".join(["WEBVTT", *blocks]) + "\n").encode()


def _cues(words: Sequence[WordTiming], max_line_characters: int) -> Iterable[Cue]:
    """Yield cues of at most two lines, which end with sentences and at pauses."""
    lines: list[str] = []
    start = end = 0.0
    space = ""
    for index, word in enumerate(words):
        pauses = index > 0 and word["start"] - end > PAUSE_SECONDS
        ends_sentence = index > 0 and _ends_sentence(words[index - 1]["text"])
        if lines and (pauses or ends_sentence):
            yield Cue(start, end, tuple(lines))
            lines = []
        if lines and len(lines[-1] + space + word["text"]) <= max_line_characters:
            lines[-1] += space + word["text"]
        elif lines and len(lines) < LINES:
            lines.append(word["text"])
        else:
            if lines:
                yield Cue(start, end, tuple(lines))
            lines, start = [word["text"]], word["start"]
        end = word["end"]
        space = " " if word.get("space_after", True) else ""
    if lines:
        yield Cue(start, end, tuple(lines))


def _ends_sentence(word: str) -> bool:
    return bool(_SENTENCE_END.search(word)) and not _ABBREVIATION.fullmatch(word)


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    return (
        f"{milliseconds // 3_600_000:02}:{milliseconds // 60_000 % 60:02}:{milliseconds // 1000 % 60:02}"
        f"{point}{milliseconds % 1000:03}"
    )


def _escape(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
