"""What all layers of marks say of a recording."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from core.marks.detect import RATE, Detection
from core.marks.found_labels import FoundLabels, read_labels
from core.marks.speech_label import SYNTHETIC
from core.marks.speech_marks import SpeechMarks, format_mark
from core.media.encode import read_wav


@dataclass(frozen=True, slots=True)
class KnownRequest:
    """A request whose record says that it spoke with a mark."""

    request_id: str
    time: datetime


@dataclass(frozen=True, slots=True)
class DetectionReport:
    """The marks of a recording."""

    watermark: Detection
    labels: FoundLabels
    own_label: bool
    """Whether the field AIGC was signed by this installation."""
    producer: str
    """Of this installation."""
    known_requests: tuple[KnownRequest, ...] = field(default=())
    """By the records, newest first."""

    def with_requests(self, requests: Iterable[tuple[str, float]]) -> Self:
        """Return the report with the requests of the watermark, ids and times in seconds since the epoch."""
        requests_of_mark = tuple(
            KnownRequest(request_id, datetime.fromtimestamp(time, UTC)) for request_id, time in requests
        )
        return replace(self, known_requests=requests_of_mark)

    @property
    def layers(self) -> list[str]:
        """The layers that say that it is synthetic: `watermark`, `aigc`, `c2pa`."""
        label, credentials = self.labels.label, self.labels.credentials
        says_so = {
            "watermark": self.watermark.found,
            "aigc": label is not None and label.Label == SYNTHETIC,
            "c2pa": credentials is not None and credentials.synthetic and credentials.state != "invalid",
        }
        return [name for name, says in says_so.items() if says]

    @property
    def own(self) -> bool:
        """Whether this installation spoke it, by a layer that nobody else can make."""
        credentials = self.labels.credentials
        return self.watermark.found or self.own_label or (credentials is not None and credentials.state == "own")

    @property
    def shown_producer(self) -> str:
        """Who made it; empty when nothing says so."""
        if self.own and self.watermark.found:
            return self.producer
        label, credentials = self.labels.label, self.labels.credentials
        return label.ContentProducer if label is not None else credentials.signer if credentials is not None else ""

    @property
    def request_id(self) -> str:
        """The request; of the watermark, the newest that the records know; empty when nothing says so."""
        if self.known_requests:
            return self.known_requests[0].request_id
        label, credentials = self.labels.label, self.labels.credentials
        label = label or (credentials.label if credentials is not None else None)
        return label.ProduceID if label is not None else ""

    @property
    def time(self) -> datetime | None:
        """When it was made; None when nothing says so."""
        if self.known_requests:
            return self.known_requests[0].time
        label = self.labels.label
        return label.time if label is not None and self.own_label else None

    @property
    def confidence(self) -> float | None:
        """How certain it is that this installation spoke it: one minus the measured part of false alarms.

        None where only a label says so, which anybody can copy to another recording.
        """
        credentials = self.labels.credentials
        if credentials is not None and credentials.state == "own":
            return 1.0
        if not self.watermark.found and self.labels.label is not None:
            return None
        return self.watermark.confidence

    @property
    def mark(self) -> str | None:
        """The id that the watermark says, as people see it; None where there is none, or where it is not certain."""
        payload = self.watermark.payload
        return None if payload is None or not self.watermark.found else format_mark(payload)


def examine(marks: SpeechMarks, path: Path, wav: Path) -> DetectionReport:
    """Look for marks in a file, of which `wav` is the mono sound at RATE; raise BadAudio for what is no audio."""
    labels = read_labels(path, marks.credentials.certificates)
    samples, rate = read_wav(wav)
    if rate != RATE:
        raise ValueError(f"the sound comes at {rate} Hz, not at {RATE}")
    own_label = labels.label is not None and marks.is_own(labels.label)
    return DetectionReport(marks.detect(samples, rate), labels, own_label, marks.producer)
