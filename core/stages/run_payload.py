"""The payload of a job that runs a stage."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class StageRunPayload(BaseModel):
    """The stage run that a job executes."""

    model_config = ConfigDict(frozen=True)

    experiment_id: str
    stage: str
    run: int
    """Counts the runs of a stage from 1."""
