"""How much speech was verified, corrected and left in doubt, counted by all synthesizers."""

from __future__ import annotations

from collections.abc import Mapping

from core.jobs.transport import AnyTransport, RedisCommands, command

RETRIES, SECONDS, UTTERANCES, DOUBTFUL = "retries", "seconds", "utterances", "doubtful"
FAULT_PREFIX = "fault:"
"""Before the kind of a fault, in the names of counts."""


class VerificationCounts(RedisCommands[AnyTransport]):
    """What synthesizers count, and the API reads."""

    @command
    async def add(self, counts: Mapping[str, float]) -> None:
        """Add to counts by their names."""
        for name, count in counts.items():
            if count:
                await self._send("HINCRBYFLOAT", self.key("verification"), name, repr(float(count)))

    @command
    async def read(self) -> dict[str, float]:
        """Return all counts since the queue began."""
        fields = await self._send("HGETALL", self.key("verification"))
        pairs = fields.items() if isinstance(fields, dict) else zip(fields[::2], fields[1::2], strict=True)
        return {_text(name): float(count) for name, count in pairs}


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()
