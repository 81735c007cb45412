"""The marks of one installation: its key, and what each speech carries."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from common.files import write_atomically
from core.marks.detect import Detection, detect_watermark
from core.marks.embed import WatermarkEmbedder
from core.marks.pattern import PAYLOAD_BITS, Pattern
from core.private_files import create_once
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


class SpeechMarks:
    """Marks speech, and finds the marks of this installation."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def enabled(self) -> bool:
        """Whether speech is marked."""
        return self._settings.mark_watermark

    def warm_up(self) -> None:
        """Compute what the first speech would wait for; blocks for a moment."""
        if self.enabled:
            for rate in USUAL_RATES:
                WatermarkEmbedder(self._pattern, 0, rate)

    def embedder(self, first: UtteranceRequest, sample_rate: int) -> WatermarkEmbedder | None:
        """Return what marks a speech that begins with this utterance, at its rate; None when speech is not marked."""
        if not self.enabled:
            return None
        mark_id = self.mark_id(first)
        logger.info("The speech %s carries the mark %s.", first.parent, format_mark(mark_id))
        return WatermarkEmbedder(self._pattern, mark_id, sample_rate)

    def mark_wav(self, path: Path, *content: str) -> None:
        """Mark a 16-bit mono WAV in place, with an id of what was spoken and how; nothing when speech is not marked."""
        if not self.enabled:
            return
        from core.media.encode import read_wav, wav_header

        samples, sample_rate = read_wav(path)
        mark_id = self._payload(*content)
        marked = WatermarkEmbedder(self._pattern, mark_id, sample_rate).feed(samples.tobytes())
        write_atomically(path, wav_header(sample_rate, len(marked)) + marked)
        logger.info("The speech in %s carries the mark %s.", path.name, format_mark(mark_id))

    def mark_id(self, first: UtteranceRequest) -> int:
        """Return the payload of a speech: the same for the same beginning, voice and seed under this key."""
        return self._payload(first.text, first.language, first.voice_id, str(first.seed), str(first.speed))

    def detect(self, samples: np.ndarray, sample_rate: int) -> Detection:
        """Look for this installation's mark in mono samples (N,), int16 or within ±1."""
        return detect_watermark(samples, sample_rate, self._pattern)

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
