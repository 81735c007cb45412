"""The end of trainings of the model service that wait too long for their turn."""

from __future__ import annotations

import logging
from collections.abc import Callable

from core.errors import TimedOut
from core.experiments.run_jobs import RunJobs
from core.experiments.runs import StageRuns
from core.records import Records

logger = logging.getLogger(__name__)

_BATCH = 100
"""Runs that are ended at once; the next call ends those behind them."""


class WaitingLimit:
    """Fails such trainings; its client learns that, and what else waits moves up."""

    def __init__(self, records: Records, jobs: RunJobs, runs: StageRuns, clock: Callable[[], float]) -> None:
        self.records = records
        self.jobs = jobs
        self.runs = runs
        self.clock = clock

    async def enforce(self, max_seconds: float) -> int:
        """Fail what has waited longer than `max_seconds` since it could begin, and return how many; 0: no limit."""
        if not max_seconds:
            return 0
        waiting = await self.records.stages.waiting_since(self.clock() - max_seconds, _BATCH)
        for run in waiting:
            error = TimedOut(
                f"{run.stage} waited {max_seconds:g} s for its turn, which is the limit.",
                hint="MAX_WAITING_SECONDS is the limit; fewer trainings at once or more workers make it shorter.",
            )
            await self.runs.fail(run.exp_id, run.stage, run.run, error.as_dict())
            await self.jobs.cancel([run])
        return len(waiting)
