"""Detection of this installation's marks in recordings of anybody."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from api.services.recordings import RecordingService
from core.marks.detect import RATE
from core.marks.speech_marks import SpeechMarks
from core.records import Records

if TYPE_CHECKING:
    from core.marks.detection_report import DetectionReport

MAX_SECONDS: Final = 1800.0
MAX_AT_ONCE: Final = 1
"""Detections that compute; the others wait. Anybody may ask, and half an hour of sound takes a core for seconds."""


class DetectionService:
    """Looks for marks; untrusted files are decoded in a limited child process, and nothing is stored."""

    def __init__(self, recordings: RecordingService, marks: SpeechMarks, records: Records) -> None:
        self._recordings = recordings
        self._records = records
        self._marks = marks
        self._computing = asyncio.Semaphore(MAX_AT_ONCE)

    async def detect(self, path: Path) -> DetectionReport:
        """Look for the marks of a recording of any format. Raises BadAudio for what is none, or lasts too long."""
        wav = await self._recordings.read_mono(path, sample_rate=RATE, max_seconds=MAX_SECONDS)
        try:
            async with self._computing:
                report = await asyncio.to_thread(self._examine, path, wav)
        finally:
            wav.unlink(missing_ok=True)
        payload = report.watermark.payload
        if payload is None or not report.watermark.found:
            return report
        return report.with_requests(await self._records.provenance.newest_with_mark(payload))

    def _examine(self, path: Path, wav: Path) -> DetectionReport:
        from core.marks.detection_report import examine  # with its libraries, which the process serves without

        return examine(self._marks, path, wav)
