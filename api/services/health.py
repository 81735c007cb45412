"""Health of the service: whether Redis, the database and a synthesizer respond."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from typing_extensions import TypedDict

from core.errors import SovitsError
from core.jobs.placement_reports import PlacementProblem, PlacementReports
from core.jobs.queue import AsyncQueue
from core.jobs.roles import SYNTHESIZER, WAITING_LISTS
from core.records import Records

CHECK_SECONDS: Final = 3.0
"""A part that does not respond in this time counts as unavailable."""


class Health(TypedDict):
    """Whether everything is available that a request needs."""

    status: str
    """`ready` or `not_ready`."""
    checks: dict[str, str]
    """Part (queue, records, synthesizer) → `ok` or a sentence."""
    queues: dict[str, int]
    """Queue → jobs in it."""
    workers: dict[str, int]
    """Role → registered workers."""
    problems: list[str]
    """Workers that do not work, and why; the others go on."""


async def check_health(queue: AsyncQueue, records: Records) -> Health:
    """Check every part, each for at most three seconds."""
    checks: dict[str, str] = {}
    queues: dict[str, int] = {}
    workers: dict[str, int] = {}
    problems: list[PlacementProblem] = []
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            queues = await queue.depths()
            counts = Counter(worker.role for worker in await queue.workers())
            workers = {role: counts.get(role, 0) for role in WAITING_LISTS}
            problems = await PlacementReports(queue.transport, queue.prefix).problems()
            await queue.probe()  # it may be read and reject writes
        checks["queue"] = "ok"
    except (SovitsError, TimeoutError) as error:
        checks["queue"] = f"Redis does not answer: {error or 'it took too long'}"
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await records.voices.page(limit=1)
        checks["records"] = "ok"
    except (SQLAlchemyError, SovitsError, TimeoutError) as error:
        checks["records"] = f"The records do not answer: {type(error).__name__}"
    checks["synthesizer"] = "ok" if workers.get(SYNTHESIZER) else _missing_synthesizer(problems)
    status = "ready" if all(check == "ok" for check in checks.values()) else "not_ready"
    return {
        "status": status,
        "checks": checks,
        "queues": queues,
        "workers": workers,
        "problems": [str(problem) for problem in problems],
    }


def _missing_synthesizer(problems: Sequence[PlacementProblem]) -> str:
    reasons = [str(problem) for problem in problems if problem.role == SYNTHESIZER]
    return "; ".join(["not_ready: no synthesizer is running", *reasons])
