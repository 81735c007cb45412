"""Placements that do not work, as the supervisors of all hosts report them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import orjson

from core.jobs.transport import AnyTransport, RedisCommands, command

REPORT_SECONDS: Final = 60
"""A host that reported nothing for so long has no problems that anybody knows of."""


@dataclass(frozen=True, slots=True)
class PlacementProblem:
    """A placement whose worker does not work, and why."""

    host: str
    name: str
    """As log lines call the worker: `Worker-GPU0-1`."""
    role: str
    reason: str
    disabled: bool
    """Whether it failed so often that it is only tried again now and then."""

    def __str__(self) -> str:
        if self.disabled:
            return f"{self.name} on {self.host} is disabled: {self.reason}"
        return f"{self.name} on {self.host} does not work: {self.reason}"


class PlacementReports(RedisCommands[AnyTransport]):
    """What supervisors report and the API shows."""

    @command
    async def report(self, host: str, problems: Sequence[PlacementProblem]) -> None:
        """Replace what a host reported; it is repeated before REPORT_SECONDS have passed."""
        key = self.key(f"problems:{host}")
        if not problems:
            await self._send("DEL", key)
            return
        document = orjson.dumps([asdict(problem) for problem in problems])
        await self._send("SET", key, document, "EX", REPORT_SECONDS)

    @command
    async def problems(self) -> list[PlacementProblem]:
        """Return the problems of every host that reported lately."""
        hosts = sorted(await self._send("SMEMBERS", self.key("hosts")))
        documents = [await self._send("GET", self.key(f"problems:{host}")) for host in hosts]
        return [PlacementProblem(**fields) for document in documents if document for fields in orjson.loads(document)]
