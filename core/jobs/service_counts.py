"""What workers count of their jobs since the queue began, for `/metrics`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from core.jobs.job import Job
from core.jobs.transport import AnyTransport, RedisCommands, command

WAIT_BUCKETS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0)
"""Seconds that jobs waited; more are in no bucket but the total."""
WAIT_BUCKET, WAIT_SECONDS, CLAIMS, RETRIES = "wait_bucket", "wait_seconds", "claims", "retries"
"""Counts by role; a bucket's label goes on with its limit."""
SYNTHESIS_SECONDS, SPOKEN_SECONDS, VOICE_LOADS, ENGINE_STEPS, ENGINE_ROWS, SPOKEN_UTTERANCES = (
    "synthesis_seconds",
    "spoken_seconds",
    "voice_loads",
    "engine_steps",
    "engine_rows",
    "spoken_utterances",
)
TRAINING_STEPS, TRAINING_SECONDS = "training_steps", "training_seconds"
"""Counts by stage."""
SEPARATOR: Final = "|"
"""Between a count's name and its labels."""


class ServiceCounts(RedisCommands[AnyTransport]):
    """Counts by name and label; the API reads what all workers added."""

    @command
    async def add(self, counts: Mapping[str, float]) -> None:
        """Add to counts, each at most once: a lost reply is not asked for again."""
        for name, count in counts.items():
            if count:
                await self.transport.execute("HINCRBYFLOAT", self.key("counts"), name, repr(float(count)))

    @command
    async def read(self) -> dict[str, float]:
        """Return all counts since the queue began."""
        fields = await self._send("HGETALL", self.key("counts"))
        pairs = fields.items() if isinstance(fields, dict) else zip(fields[::2], fields[1::2], strict=True)
        return {name if isinstance(name, str) else name.decode(): float(count) for name, count in pairs}


def labeled(name: str, *labels: str) -> str:
    """Return the name of a count with labels."""
    return SEPARATOR.join((name, *labels))


def claim_counts(role: str, job: Job) -> dict[str, float]:
    """Return what the claim of a job counts: how long it waited since it was created, and whether it is a retry."""
    counts = {labeled(CLAIMS, role): 1.0}
    if job.attempts:
        return counts | {labeled(RETRIES, role): 1.0}
    seconds = max(0.0, job.started_at - job.created_at)
    bucket = next((str(limit) for limit in WAIT_BUCKETS if seconds <= limit), "+Inf")
    return counts | {labeled(WAIT_SECONDS, role): seconds, labeled(WAIT_BUCKET, role, bucket): 1.0}
