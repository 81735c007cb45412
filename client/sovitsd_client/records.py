"""What the server keeps and tells, as frozen dataclasses. `data` has everything that a response said."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

ENDED = frozenset(("completed", "failed", "cancelled"))
"""Statuses after which nothing happens any more; the events of the same names end a stream."""


@dataclass(frozen=True)
class Record:
    """Something with an id."""

    id: str
    data: Mapping[str, Any] = field(repr=False, compare=False, kw_only=True)
    """The whole response."""


@dataclass(frozen=True)
class RecordingFile(Record):
    """An uploaded file."""

    filename: str
    purpose: str
    size_bytes: int
    duration_seconds: float | None
    sample_rate: int | None
    uploaded_at: str | None


@dataclass(frozen=True)
class Task(Record):
    """A recording that becomes a voice."""

    exp_name: str
    status: str
    """queued, running, completed, failed or cancelled."""
    current_stage: str | None
    progress: float
    overall_progress: float
    """From 0 to 1."""
    message: str | None
    error_message: str | None
    voice_id: str | None
    remaining_seconds: float | None
    created_at: str | None
    completed_at: str | None

    @property
    def ended(self) -> bool:
        """Whether nothing happens any more."""
        return self.status in ENDED


@dataclass(frozen=True)
class Voice(Record):
    """A voice that speaks."""

    name: str
    version: str
    language: str
    languages: tuple[str, ...]
    prompts: tuple[Mapping[str, Any], ...]
    created_at: str | None


@dataclass(frozen=True)
class Inference(Record):
    """A text that becomes an audio file."""

    status: str
    progress: float
    error_message: str | None

    @property
    def ended(self) -> bool:
        """Whether nothing happens any more."""
        return self.status in ENDED


@dataclass(frozen=True)
class Experiment(Record):
    """A training whose stages are run one by one."""

    exp_name: str
    version: str
    status: str
    created_at: str | None


@dataclass(frozen=True)
class Event:
    """Something that happened to a task, a stage or an inference."""

    name: str
    """progress, checkpoint, log, heartbeat, completed, failed or cancelled."""
    data: Mapping[str, Any]
    id: str = ""

    @property
    def terminal(self) -> bool:
        """Whether it is the last one."""
        return self.name in ENDED


RecordType = TypeVar("RecordType", bound=Record)


@dataclass(frozen=True)
class Page(Generic[RecordType]):
    """A part of a list, newest first."""

    items: tuple[RecordType, ...]
    total: int
    limit: int
    offset: int


def parse_record(kind: type[RecordType], data: Mapping[str, Any]) -> RecordType:
    """Return a record of a response; what a server of another version leaves out is None."""
    values: dict[str, Any] = {}
    for item in dataclasses.fields(kind):
        if item.name != "data":
            value = data.get(item.name)
            values[item.name] = tuple(value) if isinstance(value, list) else value
    return kind(**values, data=data)


def parse_page(kind: type[RecordType], data: Mapping[str, Any]) -> Page[RecordType]:
    """Return a page of records."""
    items = tuple(parse_record(kind, item) for item in data["items"])
    return Page(items, data["total"], data["limit"], data["offset"])
