"""All operations of the queue. Each is one Lua script (`core/jobs/lua`), declared once for `Queue` and `AsyncQueue`.

Every script carries all that it needs, a new id or nonce included, and is harmless when it is sent again because its
reply was lost.
"""

from __future__ import annotations

from typing import Final

from core.jobs.history_commands import HistoryCommands
from core.jobs.job_commands import JobCommands
from core.jobs.roles import WAITING_LISTS
from core.jobs.transport import AnyTransport, command
from core.jobs.worker_commands import WorkerCommands

PROBE_SECONDS: Final = 60


class QueueCommands(JobCommands[AnyTransport], WorkerCommands[AnyTransport], HistoryCommands[AnyTransport]):
    """All that can be done with jobs, workers and their histories, and what the queue as a whole says of itself."""

    @command
    async def probe(self) -> None:
        """Write something small: what Redis rejects writes with is raised."""
        await self._send("SET", self.key("probe"), 1, "EX", PROBE_SECONDS)

    @command
    async def depths(self) -> dict[str, int]:
        """Return the numbers of waiting jobs by role, and of jobs that are `processing`, `delayed` and `dead`."""
        counts = await self._run_script("depths", *WAITING_LISTS.values())
        return dict(zip((*WAITING_LISTS, "processing", "delayed", "dead"), counts, strict=True))

    @command
    async def counters(self) -> dict[str, int]:
        """Return totals: submitted, done, failed (attempts), rescued, dead, replayed, cancelled; 0 is left out."""
        counters = await self._send("HGETALL", self.key("counters"))
        return {name: int(count) for name, count in counters.items()}
