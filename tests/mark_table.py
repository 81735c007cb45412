"""The table of docs/synthetic-speech.md, and what a delivered recording really carries: a test compares the two."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

from core.marks.content_credentials import read_credentials
from core.marks.detect import RATE
from core.marks.speech_label import SpeechLabel, label_of_tags
from core.marks.speech_marks import SpeechMarks
from core.settings import REPOSITORY

DOCUMENTS = ("synthetic-speech.md", "synthetic-speech.zh-CN.md")
HEADER = "X-AIGC"
EVENT = "event"
MANIFEST = "manifest.json"
RAW = {"pcm": "PCM_16", "raw": "PCM_16", "pcm_mulaw": "ULAW", "pcm_alaw": "ALAW"}
PLACES = {"mp3": "ID3", "flac": "Vorbis", "opus": "Vorbis", "ogg": "Vorbis", "wav": "LIST"}


@dataclass(frozen=True)
class Marking:
    """Where a label is, and whether there are Content Credentials."""

    places: frozenset[str]
    credentials: bool


@dataclass(frozen=True)
class Delivery:
    """What a client received."""

    content: bytes
    audio_format: str
    sample_rate: int = 0
    """Of raw samples."""
    headers: Mapping[str, str] = field(default_factory=dict)
    event: Mapping[str, Any] | None = None
    """The label in a message."""
    manifest: Mapping[str, Any] | None = None
    """The label in the manifest of an archive."""


def documented(document: str) -> dict[tuple[str, str], Marking]:
    """Return the rows of a document's table by output and format."""
    rows = {}
    for line in (REPOSITORY / "docs" / document).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 4:
            marking = Marking(frozenset(re.findall("`(.*?)`", cells[2])), cells[3] == "✓")
            for audio_format in cells[1].split(", "):
                rows[cells[0].strip("`"), audio_format] = marking
    return rows


def measured(delivery: Delivery) -> Marking:
    """Return which labels a delivery carries; all must name the same request."""
    labels = {}
    if HEADER in delivery.headers:
        labels[HEADER] = SpeechLabel.parse(delivery.headers[HEADER])
    for place, fields in ((EVENT, delivery.event), (MANIFEST, delivery.manifest)):
        if fields is not None:
            labels[place] = SpeechLabel.of_fields(fields)
    credentials = None
    if delivery.audio_format not in RAW:
        with av.open(io.BytesIO(delivery.content), "r") as container:
            label = label_of_tags({**container.metadata, **container.streams.audio[0].metadata})
        if label is not None:
            labels[PLACES[delivery.audio_format]] = label
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "speech"
            path.write_bytes(delivery.content)
            credentials = read_credentials(path, "")
    assert all(label is not None and label.ProduceID for label in labels.values()), labels
    assert len({label.ProduceID for label in labels.values() if label is not None}) <= 1, labels
    if credentials is not None:
        assert credentials["validation_state"] == "Valid", credentials
    return Marking(frozenset(labels), credentials is not None)


def is_watermarked(marks: SpeechMarks, delivery: Delivery) -> bool:
    """Return whether the samples carry the watermark of an installation."""
    if subtype := RAW.get(delivery.audio_format):
        rate = delivery.sample_rate or 8_000
        samples, _ = soundfile.read(
            io.BytesIO(delivery.content), format="RAW", subtype=subtype, samplerate=rate, channels=1, dtype="int16"
        )
        return marks.detect(np.asarray(samples), rate).found
    with av.open(io.BytesIO(delivery.content), "r") as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
        frames += resampler.resample(None)
    return marks.detect(np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]), RATE).found
