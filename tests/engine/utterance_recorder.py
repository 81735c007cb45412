"""A listener that collects what it hears."""

from __future__ import annotations

import threading

import numpy as np

from GPT_SoVITS.engine.utterance import UtteranceTotals
from GPT_SoVITS.pipeline import Speech

WAIT_SECONDS = 60.0


class Recorder:
    """Collects the chunks of an utterance and waits for its end."""

    def __init__(self) -> None:
        self.chunks: list[Speech] = []
        self.totals: UtteranceTotals | None = None
        self.error: Exception | None = None
        self.began = threading.Event()
        self.ended = threading.Event()

    def on_chunk(self, speech: Speech) -> None:
        assert not self.ended.is_set()
        self.chunks.append(speech)
        self.began.set()

    def on_end(self, totals: UtteranceTotals) -> None:
        assert not self.ended.is_set()
        self.totals = totals
        self.ended.set()

    def on_error(self, error: Exception) -> None:
        assert not self.ended.is_set()
        self.error = error
        self.ended.set()

    def samples(self) -> np.ndarray:
        """Wait for the end and return all samples."""
        assert self.ended.wait(WAIT_SECONDS)
        if self.error is not None:
            raise self.error
        return np.concatenate([chunk.samples for chunk in self.chunks])
