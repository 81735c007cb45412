"""The sizes for which passes are captured: a replay computes for as many frames and rows as its bucket has.

Frames are those of the latent, 20 ms each or 40. A chunk of the default settings has 60 tokens at most, hence 120
encoded frames, before which each network reads again as much as it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FRAME_BUCKETS: Final = (32, 48, 64, 96, 128, 192, 256)
PHONEME_BUCKETS: Final = (32, 64, 128, 256)
ROW_BUCKETS: Final = (1, 2, 4, 8)
"""Chunks that share a run of the generator."""


@dataclass(frozen=True, slots=True)
class EncoderBucket:
    """What one graph of the text encoder computes."""

    frames: int
    phonemes: int

    @property
    def total_frames(self) -> int:
        """Frames of all rows."""
        return self.frames


@dataclass(frozen=True, slots=True)
class LatentBucket:
    """What one graph of the prior and the flow computes."""

    frames: int

    @property
    def total_frames(self) -> int:
        """Frames of all rows."""
        return self.frames


@dataclass(frozen=True, slots=True)
class GeneratorBucket:
    """What one graph of the generator computes."""

    rows: int
    frames: int

    @property
    def total_frames(self) -> int:
        """Frames of all rows."""
        return self.rows * self.frames


PassBucket = EncoderBucket | LatentBucket | GeneratorBucket
