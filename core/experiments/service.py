"""The one engine behind tasks and experiments: it moves stages on, in the records and in the queue.

A stage run is a job named `<experiment>.<stage>.<run>`. The records are written first and the queue follows,
so what dies in between is picked up by `reconcile`; every step is harmless when repeated.
"""

from __future__ import annotations

from core.experiments.reconcile import Reconciliation
from core.experiments.retention import Retention
from core.experiments.steps import Steps

__all__ = ["ExperimentService"]


class ExperimentService(Steps, Reconciliation, Retention):
    """Create, run, cancel and control (the API); follow the work (the roles); mend (the supervisor).

    ExperimentService(records, queue, events, storage=None, clock=time.time): with a storage, a published
    voice gets its own copy of the prompt and survives its experiment.
    """
