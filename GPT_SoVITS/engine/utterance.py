"""What an engine is asked to speak, and whom it tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from GPT_SoVITS.engine.verification import VerificationReport, VerificationSettings
from GPT_SoVITS.pipeline import ChunkSettings, Pipeline, Speech, SynthesisRequest


class Urgency(StrEnum):
    """Whether somebody listens while an utterance is spoken."""

    LIVE = "live"
    BATCH = "batch"
    """It is spoken when no live utterance needs the device."""


class UtteranceCancelled(Exception):
    """The utterance was cancelled, or its engine was closed."""


@dataclass(frozen=True, slots=True)
class UtteranceTask:
    """An utterance to speak. Its chunks and their samples depend on the request and on `chunks` alone, not on time."""

    pipeline: Pipeline
    request: SynthesisRequest
    chunks: ChunkSettings | None = None
    """How it is cut into chunks; None gives one chunk, with the samples of `Pipeline.speak`."""
    urgency: Urgency = Urgency.LIVE
    repeatable: bool = True
    """Whether it may be asked for again, so that it is worth being kept; False where its seed was drawn at random."""
    verification: VerificationSettings | None = None
    """How it is verified; None not at all, which is bit-identical to the library."""
    played_until: Callable[[], float] | None = None
    """Returns when the listener will have played everything that precedes the next chunk, by `time.monotonic`. Called
    on the engine's thread, often. By default the first chunk is due at once, and each later one when those before it
    have been played."""


@dataclass(frozen=True, slots=True)
class UtteranceTotals:
    """What an utterance came to."""

    samples: int
    sample_rate: int
    """Hz."""
    tokens: int
    skipped: list[tuple[int, str]]
    """(position, text) of the passages that have no pronunciation."""
    seconds: float
    """From `submit` to the last chunk."""
    verification: VerificationReport | None = None
    """None where nothing was verified."""


class UtteranceListener(Protocol):
    """Hears about one utterance, on the engine's thread: the methods must not block.

    Any number of chunks come first, then either the end or an error, once.
    """

    def on_chunk(self, speech: Speech) -> None:
        """Take the next chunk."""

    def on_end(self, totals: UtteranceTotals) -> None:
        """Take note that all chunks were delivered."""

    def on_error(self, error: Exception) -> None:
        """Take note that no more chunks come: a ModelError, UtteranceCancelled, or a fault."""
