"""Control requests to a stage in progress, as its record holds them."""

from __future__ import annotations

import time

from core.errors import SovitsError
from roles.stages.stage_run import StageRun

POLL_SECONDS = 1.0
"""The records are read once in this time."""


class Paused(SovitsError):
    """The stage stopped because it was asked to pause; its state is saved."""

    code = "paused"


class ControlRequests:
    """The requests to pause a stage run or to end it early."""

    def __init__(self, run: StageRun) -> None:
        self._run = run
        self._read_at = float("-inf")
        self._request = ""

    def poll(self) -> str:
        """Return the newest request, `pause` or `stop_after_epoch`; empty before the first."""
        now = time.monotonic()
        if now - self._read_at >= POLL_SECONDS:
            self._read_at = now
            run = self._run
            request = run.services.call(
                run.services.experiments.runs.requested_control, run.experiment.id, run.stage, run.run
            )
            self._request = request or self._request
        return self._request
