"""Transcript lists: `path|speaker|language|text` on each line, the format of the training tools."""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from common.languages import RECORDING_LANGUAGES
from core.datasets.list_encoding import decode_list
from core.records import SkippedFile

MAX_LINES: Final = 20_000
MAX_TEXT_LENGTH: Final = 2000
MAX_DEPTH: Final = 16
"""Parts of a path that are compared."""
_MAX_ERRORS: Final = 50
_LANGUAGE_ALIASES: Final = {"jp": "ja", "cn": "zh"}


@dataclass(frozen=True, slots=True)
class TranscriptLine:
    """The transcript of one recording."""

    path: str
    """As the list has it, with slashes."""
    speaker: str
    language: str
    """Empty: unknown."""
    text: str
    place: str = ""
    """The list and the line, for messages."""


@dataclass(frozen=True, slots=True)
class TranscriptMatch:
    """Which line belongs to which recording."""

    lines: dict[str, TranscriptLine]
    """By the name of the recording, as it was given."""
    problems: list[SkippedFile]
    """Lines and recordings that fit none, or more than one, with a reason each."""


class TranscriptIndex:
    """Lines of lists by path, matched with recordings by the longest common end of their paths."""

    def __init__(self) -> None:
        self._by_path: dict[str, TranscriptLine] = {}

    def add(self, lines: Iterable[TranscriptLine]) -> list[SkippedFile]:
        """Add lines; return those whose path already has a line, which counts."""
        repeated: list[SkippedFile] = []
        for line in lines:
            first = self._by_path.setdefault(path_key(line.path), line)
            if first is line:
                continue
            place = line.place or line.path
            if (first.text, first.language) == (line.text, line.language):
                reason = f"It repeats the entry of {first.path} ({first.place})."
            else:
                reason = f"It has a second text for {first.path}; that of {first.place} is used."
            repeated.append({"name": place, "reason": reason})
        return repeated

    def match(self, recordings: Sequence[str]) -> TranscriptMatch:
        """Match recordings (paths in an archive) with lines: each has to be the only best match of the other."""
        names = {path_key(name): name for name in recordings}
        recordings_by_end, lines_by_end = _group_by_end(names), _group_by_end(self._by_path)
        lines: dict[str, TranscriptLine] = {}
        problems: list[SkippedFile] = []
        matched: set[str] = set()
        for path, name in names.items():
            candidates = _best_matches(path, lines_by_end, self._by_path)
            rivals = _best_matches(candidates[0], recordings_by_end, names) if len(candidates) == 1 else []
            if rivals == [path]:
                lines[name] = self._by_path[candidates[0]]
                matched.add(candidates[0])
            elif len(candidates) > 1:
                matched.update(candidates)
                entries = ", ".join(self._by_path[candidate].path for candidate in candidates[:3])
                reason = f"{len(candidates)} entries of a list fit it ({entries}), so that it has no transcript."
                problems.append({"name": name, "reason": reason})
            elif path in rivals:
                matched.add(candidates[0])
                entry = self._by_path[candidates[0]].path
                reason = f"The entry {entry} of a list fits {len(rivals)} recordings, so that it has no transcript."
                problems.append({"name": name, "reason": reason})
        for path, line in self._by_path.items():
            if path not in matched:
                problems.append(
                    {"name": line.path, "reason": "A list names it, and the archive has no such recording."}
                )
        return TranscriptMatch(lines, problems)


def path_key(path: str) -> str:
    """Return a path in the form that paths are compared in: composed characters, lower case, plain slashes."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", _clean_path(path)).casefold()).removeprefix("./")


def _ends(path: str) -> list[str]:
    """Return the ends of a path, the longest first."""
    parts = [part for part in path.split("/") if part not in ("", ".")][-MAX_DEPTH:]
    return ["/".join(parts[start:]) for start in range(len(parts))]


def _group_by_end(paths: Iterable[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for path in paths:
        for end in _ends(path):
            groups.setdefault(end, []).append(path)
    return groups


def _best_matches(path: str, groups: Mapping[str, list[str]], paths: Container[str]) -> list[str]:
    """Return the paths with the longest end in common; a path that is equal is the only one."""
    if path in paths:
        return [path]
    return next((groups[end] for end in _ends(path) if end in groups), [])


def parse_transcript_list(
    content: bytes, name: str, language: str = ""
) -> tuple[list[TranscriptLine], list[SkippedFile]]:
    """Return the lines of a list, and those that cannot be read with a reason each.

    `language`: that of the data set, which helps to tell the encoding.
    """
    text = decode_list(content, language)
    if text is None:
        return [], [{"name": name, "reason": "Its encoding cannot be told; save it as UTF-8."}]
    lines: list[TranscriptLine] = []
    errors: list[SkippedFile] = []
    for number, row in enumerate(text.split("\n"), start=1):
        row = row.strip("\r\ufeff ")
        if not row:
            continue
        if number > MAX_LINES:
            errors.append({"name": name, "reason": f"It has more than {MAX_LINES} lines; the rest is not read."})
            break
        line = _parse_line(row, f"{name}, line {number}")
        if isinstance(line, TranscriptLine):
            lines.append(line)
        elif len(errors) < _MAX_ERRORS:
            errors.append({"name": f"{name}, line {number}", "reason": line})
    if not lines and errors:
        return [], [{"name": name, "reason": "No line of it is `path|speaker|language|text`."}]
    return lines, errors


def _parse_line(row: str, place: str) -> TranscriptLine | str:
    """Return the line, or a sentence about what is wrong with it."""
    fields = row.split("|")
    if len(fields) != 4:
        return f"It has {len(fields)} fields; a line is path|speaker|language|text."
    path, speaker, language_field, text = fields
    if not path.strip() or not text.strip():
        return "Its path or its text is empty."
    if len(text) > MAX_TEXT_LENGTH:
        return f"Its text has {len(text)} characters; {MAX_TEXT_LENGTH} is the most."
    language = language_field.strip().lower()
    language = _LANGUAGE_ALIASES.get(language, language)
    if language not in RECORDING_LANGUAGES:
        languages = ", ".join(sorted(RECORDING_LANGUAGES))
        return f"Its language {language_field.strip()[:20]!r} is none of {languages}."
    return TranscriptLine(_clean_path(path), speaker.strip()[:100], language, " ".join(text.split()), place)


def _clean_path(path: str) -> str:
    return path.strip(" \t\"'\u202a").replace("\\", "/").rstrip("/")
