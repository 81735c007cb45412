"""Detection of this installation's marks in recordings of anybody."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from api.services.recordings import RecordingService
from core.marks.detect import RATE, Detection
from core.marks.speech_marks import SpeechMarks

MAX_SECONDS: Final = 1800.0
MAX_AT_ONCE: Final = 1
"""Detections that compute; the others wait. Anybody may ask, and half an hour of sound takes a core for seconds."""


class DetectionService:
    """Looks for marks; untrusted files are decoded in a limited child process, and nothing is stored."""

    def __init__(self, recordings: RecordingService, marks: SpeechMarks) -> None:
        self._recordings = recordings
        self._marks = marks
        self._computing = asyncio.Semaphore(MAX_AT_ONCE)

    async def detect(self, path: Path) -> Detection:
        """Look for the mark in a recording of any format. Raises BadAudio for what is none, or lasts too long."""
        wav = await self._recordings.read_mono(path, sample_rate=RATE, max_seconds=MAX_SECONDS)
        try:
            async with self._computing:
                return await asyncio.to_thread(self._find, wav)
        finally:
            wav.unlink(missing_ok=True)

    def _find(self, wav: Path) -> Detection:
        from core.media.encode import read_wav  # with its libraries, which the process serves without

        return self._marks.detect(*read_wav(wav))
