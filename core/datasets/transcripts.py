"""Transcript lists: `path|speaker|language|text` on each line, the format of the training tools."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from common.languages import RECORDING_LANGUAGES
from core.records import SkippedFile

MAX_LINES: Final = 20_000
MAX_TEXT_LENGTH: Final = 2000
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


class TranscriptIndex:
    """Looks up the line of a recording by its path, or by its name alone where that is unambiguous."""

    def __init__(self) -> None:
        self._by_path: dict[str, TranscriptLine] = {}
        self._paths_by_name: dict[str, list[str]] = {}
        self._used: set[str] = set()

    def add(self, lines: Iterable[TranscriptLine]) -> None:
        """Add lines; the first line of a path counts."""
        for line in lines:
            path = _normalize(line.path)
            if path not in self._by_path:
                self._by_path[path] = line
                self._paths_by_name.setdefault(path.rpartition("/")[2], []).append(path)

    def find(self, name: str) -> TranscriptLine | None:
        """Return the line of the recording `name` (a path in an archive), or None."""
        path = _normalize(name)
        file_name = path.rpartition("/")[2]
        while path not in self._by_path and "/" in path:  # a list often lies beside a folder, or names it from above
            path = path.partition("/")[2]
        if path not in self._by_path:
            candidates = self._paths_by_name.get(file_name, [])
            if len(candidates) != 1:
                return None
            path = candidates[0]
        self._used.add(path)
        return self._by_path[path]

    def unused(self) -> list[str]:
        """Return the paths of lines that `find` has not returned."""
        return [line.path for path, line in self._by_path.items() if path not in self._used]


def parse_transcript_list(content: bytes, name: str) -> tuple[list[TranscriptLine], list[SkippedFile]]:
    """Return the lines of a list, and those that cannot be read with a reason each."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = content.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        return [], [{"name": name, "reason": "It is no text that can be read; save it as UTF-8."}]
    lines: list[TranscriptLine] = []
    errors: list[SkippedFile] = []
    for number, row in enumerate(text.split("\n"), start=1):
        row = row.strip("\r\ufeff ")
        if not row:
            continue
        if number > MAX_LINES:
            errors.append({"name": name, "reason": f"It has more than {MAX_LINES} lines; the rest is not read."})
            break
        line = _parse_line(row)
        if isinstance(line, TranscriptLine):
            lines.append(line)
        elif len(errors) < _MAX_ERRORS:
            errors.append({"name": f"{name}, line {number}", "reason": line})
    if not lines and errors:
        return [], [{"name": name, "reason": "No line of it is `path|speaker|language|text`."}]
    return lines, errors


def _parse_line(row: str) -> TranscriptLine | str:
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
    return TranscriptLine(_clean_path(path), speaker.strip()[:100], language, " ".join(text.split()))


def _clean_path(path: str) -> str:
    return path.strip(" \t\"'\u202a").replace("\\", "/").rstrip("/")


def _normalize(path: str) -> str:
    return _clean_path(path).removeprefix("./").lower()
