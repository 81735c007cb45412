"""The marks of one installation: its key, and what each speech carries.

Every output path goes through `SpeechMarks`: samples through a `SpeechMarker`, files through `finish` or `finish_file`.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from common.files import write_atomically
from core.marks.audible_notice import rhythm
from core.marks.content_credentials import ContentCredentials
from core.marks.detect import Detection, detect_watermark
from core.marks.embed import PEAK_RISE_DB, WatermarkEmbedder
from core.marks.pattern import PAYLOAD_BITS, Pattern
from core.marks.speech_label import SpeechLabel, tags_of
from core.private_files import create_once
from core.setting_groups.marks import RHYTHM
from core.settings import Settings
from core.speech.requests import UtteranceRequest

if TYPE_CHECKING:
    import numpy as np

logger = logging.getLogger(__name__)

KEY_FILE: Final = "marks.key"
"""Name of the key's file in the data folder."""
KEY_BYTES: Final = 32
USUAL_RATES: Final = (16_000, 32_000, 48_000)
"""Rates of the models, in Hz."""


@dataclass(slots=True)
class SpeechMarker:
    """Marks the samples of one speech, and says what else it is to carry."""

    mark_id: int | None
    """Payload of the watermark; None without one."""
    label: SpeechLabel | None
    """For metadata; None where they are off."""
    signal: bytes = b""
    """Samples that are heard before the speech."""
    embedder: WatermarkEmbedder | None = None

    def opening(self) -> bytes:
        """Return what is heard before the first samples, marked like them; call it once, before `feed`."""
        return self.feed(self.signal)

    def feed(self, samples: bytes) -> bytes:
        """Return the samples marked, all of them at once."""
        return samples if self.embedder is None else self.embedder.feed(samples)


class SpeechMarks:
    """Marks speech, and finds the marks of this installation."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.producer = settings.mark_producer or settings.app_name
        self.credentials = ContentCredentials(settings.data_path, settings.mark_certificate, self.producer)

    @property
    def headroom_db(self) -> float:
        """By how many dB marks may raise the peaks of speech."""
        return PEAK_RISE_DB if self._settings.mark_watermark else 0.0

    def warm_up(self) -> None:
        """Compute what the first speech would wait for; blocks for a moment."""
        if self._settings.mark_watermark:
            for rate in USUAL_RATES:
                WatermarkEmbedder(self._pattern, 0, rate)

    def begin(self, first: UtteranceRequest, request_id: str, sample_rate: int) -> SpeechMarker:
        """Return what marks a speech that begins with this utterance (a notice not counted), at its rate."""
        return self._marker(self.mark_id(first), request_id, sample_rate)

    def mark_wav(self, path: Path, request_id: str, *content: str) -> SpeechMarker:
        """Mark a 16-bit mono WAV in place, with an id of what was spoken and how."""
        from core.media.encode import read_wav, wav_file

        samples, sample_rate = read_wav(path)
        marker = self._marker(self._payload(*content), request_id, sample_rate)
        marked = marker.opening() + marker.feed(samples.tobytes())
        content_of_file = wav_file(marked, sample_rate, tags_of(marker.label))
        write_atomically(path, self.finish(content_of_file, "wav", marker.label))
        return marker

    def mark_id(self, first: UtteranceRequest) -> int:
        """Return the payload of a speech: the same for the same beginning, voice and seed under this key."""
        return self._payload(first.text, first.language, first.voice_id, str(first.seed), str(first.speed))

    def finish(self, content: bytes, audio_format: str, label: SpeechLabel | None) -> bytes:
        """Return a complete file, which has its tags already, with what can only be added to a complete one."""
        return content if label is None else self.credentials.sign(content, audio_format, label)

    def finish_file(self, path: Path, audio_format: str, label: SpeechLabel | None) -> None:
        """Do as `finish` with a file in place."""
        if label is not None:
            self.credentials.sign_file(path, audio_format, label)

    def label(self, request_id: str) -> SpeechLabel | None:
        """Return the label of a request; None where metadata are off."""
        if not self._settings.mark_metadata:
            return None
        return SpeechLabel.create(self._key, self.producer, request_id, time.time(), self._settings.mark_propagator)

    def is_own(self, label: SpeechLabel) -> bool:
        """Return whether this installation made a label."""
        return label.is_signed_with(self._key)

    def detect(self, samples: np.ndarray, sample_rate: int) -> Detection:
        """Look for this installation's mark in mono samples (N,), int16 or within ±1."""
        return detect_watermark(samples, sample_rate, self._pattern)

    def _marker(self, mark_id: int, request_id: str, sample_rate: int) -> SpeechMarker:
        label = self.label(request_id)
        signal = rhythm(sample_rate) if self._settings.mark_audible == RHYTHM else b""
        if not self._settings.mark_watermark:
            return SpeechMarker(None, label, signal)
        logger.info("The speech %s carries the mark %s.", request_id, format_mark(mark_id))
        return SpeechMarker(mark_id, label, signal, WatermarkEmbedder(self._pattern, mark_id, sample_rate))

    def _payload(self, *content: str) -> int:
        digest = hmac.new(self._key, "\0".join(content).encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
        return int.from_bytes(digest[: PAYLOAD_BITS // 8], "big")

    @cached_property
    def _pattern(self) -> Pattern:
        return Pattern(self._key)

    @cached_property
    def _key(self) -> bytes:
        configured = self._settings.mark_key.get_secret_value()
        if configured:
            return configured.encode()
        path = self._settings.data_path / KEY_FILE
        if not path.exists():
            create_once(path, os.urandom(KEY_BYTES))
        return path.read_bytes()


def format_mark(mark_id: int) -> str:
    """Return a mark's id as people see it: six hexadecimal digits."""
    return f"{mark_id:0{PAYLOAD_BITS // 4}x}"


def parse_mark(text: str) -> int | None:
    """Return the id that people see as a number; None where it is none."""
    try:
        mark_id = int(text, 16)
    except ValueError:
        return None
    return mark_id if format_mark(mark_id) == text.lower() else None
