"""Lists of transcripts: `path|speaker|language|text` a line, as the training tools have always written them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MAX_LINES: Final = 20_000
LONGEST_TEXT: Final = 2000
_LANGUAGES: Final = {"jp": "ja", "cn": "zh"}
_KNOWN: Final = frozenset(("auto", "zh", "en", "ja", "ko", "yue"))


@dataclass(frozen=True, slots=True)
class Line:
    """What is said in one recording."""

    path: str
    """As the list has it, with slashes."""
    speaker: str
    language: str
    """Empty when the list names none that is known."""
    text: str


class Transcripts:
    """Finds the line of a recording by its path, or by its name alone where that is clear."""

    def __init__(self) -> None:
        self._by_path: dict[str, Line] = {}
        self._by_name: dict[str, list[str]] = {}
        self._used: set[str] = set()

    def add(self, lines: Iterable[Line]) -> None:
        """The first line of a path is the one that counts."""
        for line in lines:
            path = _key(line.path)
            if path not in self._by_path:
                self._by_path[path] = line
                self._by_name.setdefault(_last(path), []).append(path)

    def find(self, name: str) -> Line | None:
        """The line of the recording `name` (a path in an archive); None when the lists do not know it."""
        path = _key(name)
        while path not in self._by_path and "/" in path:  # a list often lies beside a folder, or names it from above
            path = path.partition("/")[2]
        if path not in self._by_path:
            candidates = self._by_name.get(_last(_key(name)), [])
            if len(candidates) != 1:
                return None
            path = candidates[0]
        self._used.add(path)
        return self._by_path[path]

    def unused(self) -> list[str]:
        """Paths that a list names and no recording has."""
        return [line.path for path, line in self._by_path.items() if path not in self._used]

    def __bool__(self) -> bool:
        return bool(self._by_path)


def parse_list(content: bytes, name: str) -> tuple[list[Line], list[dict[str, str]]]:
    """The lines of a list, and `{name, reason}` of those that cannot be read."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = content.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        return [], [{"name": name, "reason": "It is no text that can be read; save it as UTF-8."}]
    found: list[Line] = []
    bad: list[dict[str, str]] = []
    for number, row in enumerate(text.split("\n"), start=1):
        row = row.strip("\r\ufeff ")
        if not row:
            continue
        if number > MAX_LINES:
            bad.append({"name": name, "reason": f"It has more than {MAX_LINES} lines; the rest is not read."})
            break
        problem = _read(row, found)
        if problem and len(bad) < 50:
            bad.append({"name": f"{name}, line {number}", "reason": problem})
    if not found and bad:
        return [], [{"name": name, "reason": "No line of it is `path|speaker|language|text`."}]
    return found, bad


def known_language(language: str) -> str:
    """The code of the field in a list; empty when nobody knows it."""
    lower = language.strip().lower()
    lower = _LANGUAGES.get(lower, lower)
    return lower if lower in _KNOWN else ""


def _read(row: str, found: list[Line]) -> str:
    """Add the line; what is wrong with it."""
    fields = row.split("|")
    if len(fields) != 4:
        return f"It has {len(fields)} fields; a line is path|speaker|language|text."
    path, speaker, language, text = fields
    if not path.strip() or not text.strip():
        return "Its path or its text is empty."
    if len(text) > LONGEST_TEXT:
        return f"Its text has {len(text)} characters; {LONGEST_TEXT} is the most."
    if not known_language(language):
        return f"Its language {language.strip()[:20]!r} is none of {', '.join(sorted(_KNOWN))}."
    found.append(Line(_tidy(path), speaker.strip()[:100], known_language(language), " ".join(text.split())))
    return ""


def _tidy(path: str) -> str:
    return path.strip(" \t\"'\u202a").replace("\\", "/").rstrip("/")


def _key(path: str) -> str:
    tidy = _tidy(path)
    return tidy.removeprefix("./").lower()


def _last(path: str) -> str:
    return path.rpartition("/")[2]
