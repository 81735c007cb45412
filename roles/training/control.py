"""What someone asks of a training in progress, as its record says it."""

from __future__ import annotations

import time

from core.errors import SovitsError
from roles.stages.stage_role import StageRun

POLL_SECONDS = 1.0
"""The records are asked this often, so that a wish is heard well before anyone doubts it."""


class Paused(SovitsError):
    """The stage stopped because it was asked to pause; what it had learnt is saved."""

    code = "paused"


class Wishes:
    """Asks the records now and then; between, it answers what it heard last."""

    def __init__(self, run: StageRun) -> None:
        self._run = run
        self._asked_at = float("-inf")
        self._heard = ""

    def heard(self) -> str:
        """`pause`, `stop_after_epoch`, or nothing."""
        now = time.monotonic()
        if now - self._asked_at >= POLL_SECONDS:
            self._asked_at = now
            run = self._run
            control = run.services.call(
                run.services.experiments.runs.requested_control, run.experiment.id, run.stage, run.run
            )
            self._heard = control or self._heard
        return self._heard
