"""Subtitles that are read: SRT and WebVTT of any make, as cues with their times and speakers."""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from core.errors import InvalidRequest, TextTooLong

MAX_CUES: Final = 5000
MAX_CUE_CHARACTERS: Final = 1000
MAX_SECONDS: Final = 4 * 3600.0
"""Where the last cue may end."""
MAX_BYTES: Final = 4 << 20
_CLOCK: Final = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,3}))?"
_TIMES: Final = re.compile(rf"\s*{_CLOCK}\s*-{{1,2}}>\s*{_CLOCK}(?:\s.*)?")
_VOICE_TAG: Final = re.compile(r"<v(?:\.[^\s<>]*)?\s+([^<>]{1,200})>")
_TAG: Final = re.compile(r"</?[A-Za-z][^<>]{0,500}>|<[\d:.]{1,20}>|\{\\[^{}]{0,200}\}")
_SPEAKER: Final = re.compile(r"\s*(?:\[([^\[\]\n]{1,100})\]|\(([^()\n]{1,100})\)|([^:：\n]{1,100})[:：])\s*")
_MUSIC: Final = re.compile(r"[♩♪♫♬#\s]*")
_HINT: Final = "Times are like 00:00:01,000 --> 00:00:02,500."


@dataclass(frozen=True, slots=True)
class SpokenCue:
    """Words to be spoken from one time to another."""

    start: float
    end: float
    """Seconds."""
    text: str
    """Without tags, in one line; empty where nobody speaks."""
    speaker: str = ""
    """Whom the file names."""
    line: int = 0
    """Of the file, counted from 1, for errors."""


def decode_subtitles(content: bytes) -> str:
    """Return the text of a file; raise InvalidRequest unless it is Unicode."""
    if len(content) > MAX_BYTES:
        raise TextTooLong(f"The subtitles have {len(content) >> 20} MiB; {MAX_BYTES >> 20} MiB is the most.")
    marks = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
    encoding = next((name for mark, name in marks if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"The subtitles are no {encoding.removesuffix('-sig').upper()} from byte {error.start} on.",
            hint="Save the file as UTF-8.",
        ) from None


def parse_subtitles(text: str, speakers: Iterable[str] = ()) -> list[SpokenCue]:
    """Return the cues of SRT or WebVTT in the order of their times.

    `speakers`: names that count before a cue's words (`Anna: Hello.`, `[Anna] Hello.`); those of WebVTT's voice tags
    count always. Raises InvalidRequest, which names the line, and TextTooLong.
    """
    lines = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    timings = [number for number, line in enumerate(lines) if "->" in line and _is_timing(line)]
    if not timings:
        raise InvalidRequest("The subtitles have no cue.", hint=f"Send SRT or WebVTT. {_HINT}")
    if len(timings) > MAX_CUES:
        raise TextTooLong(f"The subtitles have {len(timings):,} cues; {MAX_CUES:,} is the most.", hint="Send parts.")
    is_vtt = lines[0].lstrip().startswith("WEBVTT")
    names = {name.casefold(): name for name in speakers}
    cues = []
    for number, following in zip(timings, [*timings[1:], len(lines)], strict=True):
        body = _without_next_number(lines[number + 1 : following], is_last=following == len(lines))
        if is_vtt and "" in (stripped := [line.strip() for line in body]):
            body = body[: stripped.index("")]  # what follows is a comment, or the name of the next cue
        start, end = _times(lines[number], number)
        cues.append(_with_speaker(SpokenCue(start, end, "\n".join(body), line=number + 1), names))
    return sorted(cues, key=lambda cue: (cue.start, cue.end))


def _is_timing(line: str) -> bool:
    """Return whether a line gives times; raise InvalidRequest for one that begins like one and does not."""
    return bool(re.match(r"\s*-?[\d:.,]*\d[\d:.,]*\s*-{1,2}>|\s*-{2}>", line))


def _times(line: str, number: int) -> tuple[float, float]:
    match = _TIMES.fullmatch(line)
    if match is None:
        raise InvalidRequest(f"The line {number + 1} has no times of a cue: {line.strip()[:60]!r}.", hint=_HINT)
    groups = match.groups()
    start, end = _seconds(groups[:4]), _seconds(groups[4:])
    if end <= start:
        raise InvalidRequest(
            f"The cue at line {number + 1} ends at {end:g} s, and begins at {start:g} s.", hint="It must end later."
        )
    if end > MAX_SECONDS:
        raise InvalidRequest(
            f"The cue at line {number + 1} ends after {end / 3600:.1f} hours; {MAX_SECONDS / 3600:g} are the most.",
            hint="Send parts.",
        )
    return start, end


def _seconds(groups: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = groups
    whole = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return (1000 * whole + int((fraction or "0").ljust(3, "0"))) / 1000


def _without_next_number(body: list[str], *, is_last: bool) -> list[str]:
    """Return the lines of a cue without the number of the next one, and without blank lines at the end."""
    while body and not body[-1].strip():
        body = body[:-1]
    if body and not is_last and body[-1].strip().isdecimal():
        body = body[:-1]
    while body and not body[-1].strip():
        body = body[:-1]
    return body


def _with_speaker(cue: SpokenCue, names: dict[str, str]) -> SpokenCue:
    """Return a cue with its words alone, and whoever is named before them."""
    speaker = ""
    if voice := _VOICE_TAG.search(cue.text):
        speaker = html.unescape(voice[1]).strip()
    text = html.unescape(_TAG.sub("", cue.text)).replace("\u200e", "").replace("\u200f", "").replace("\xa0", " ")
    match = _SPEAKER.match(text)
    if match and (name := names.get(next(filter(None, match.groups())).strip().casefold())):
        speaker, text = name, text[match.end() :]
    text = re.sub(r"(?m)^\s*[-–—]\s+", "", text)
    text = re.sub(r"\s+", " ", re.sub("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", "", text)).strip()
    if _MUSIC.fullmatch(text):
        text = ""
    if len(text) > MAX_CUE_CHARACTERS:
        raise TextTooLong(
            f"The cue at line {cue.line} has {len(text):,} characters; {MAX_CUE_CHARACTERS:,} is the most."
        )
    return replace(cue, text=text, speaker=names.get(speaker.casefold(), speaker))
