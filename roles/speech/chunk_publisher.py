"""Publishing the audio of an utterance while it is made, for the process that streams it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from typing import Final

from core.errors import JobCancelled, LeaseLost
from core.jobs.job import ChunkStatus
from core.redis import is_connection_error
from core.speech.words import WordTiming
from roles.runtime.role import JobContext

MAX_BYTES: Final = 32_768
"""Of one chunk; a longer one is published in parts."""
FULL_SECONDS: Final = 0.05
"""How soon a chunk is tried again whose reader is behind."""
AWAY_SECONDS: Final = 0.2
"""How soon it is tried again while Redis is away."""


class ChunkPublisher:
    """Publishes consecutive samples of one job, in order and each once, whoever else had the job before."""

    def __init__(self, context: JobContext, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.published_bytes = 0
        self.pending_words: list[WordTiming] = []
        """Words whose samples were published, but which were not: the next samples take them along."""
        self._context = context
        self._chunk_began_at = time.time()
        self._stopped = threading.Event()
        context.on_stop(self._stopped.set)

    def publish(self, samples: bytes, words: Iterable[WordTiming] = ()) -> None:
        """Publish 16-bit samples and the words that end in them; wait while the reader is behind or Redis is away.

        Raises JobCancelled, LeaseLost or Draining when the job should stop.
        """
        self.pending_words += words
        for first in range(0, len(samples), MAX_BYTES):
            part = samples[first : first + MAX_BYTES]
            end_seconds = (self.published_bytes + len(part)) / 2 / self.sample_rate
            ended = [
                word for word in self.pending_words if word["end"] <= end_seconds or first + MAX_BYTES >= len(samples)
            ]
            self._publish(part, ended)
            del self.pending_words[: len(ended)]

    def _publish(self, part: bytes, words: Sequence[WordTiming]) -> None:
        queue, lease = self._context.services.queue, self._context.lease
        while True:
            self._context.check()
            try:
                status = queue.publish_chunk(lease, self.published_bytes, self.sample_rate, part, words)
            except Exception as error:
                if not is_connection_error(error):
                    raise
                self._stopped.wait(AWAY_SECONDS)
                continue
            if status is ChunkStatus.HELD:
                attributes = {"audio.seconds": len(part) / 2 / self.sample_rate}
                self._context.services.tracing.chunk(attributes, self._chunk_began_at)
                self._chunk_began_at = time.time()
                self.published_bytes += len(part)
                return
            if status is ChunkStatus.CANCEL:
                self._context.stop(JobCancelled(f"The job {lease.job.id} was cancelled."))
            elif status is ChunkStatus.LOST:
                self._context.stop(LeaseLost(f"The lease on the job {lease.job.id} was lost."))
            else:
                self._stopped.wait(FULL_SECONDS)
