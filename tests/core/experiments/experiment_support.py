"""Stage runs that start, complete and pause as a worker does it."""

from __future__ import annotations

from typing import Any

from core.experiments.service import ExperimentService
from core.records import StageRecord

BEFORE_TRAINING = ("convert", "audio_slice", "asr", "text_feature", "hubert_feature", "semantic_token")


async def complete(
    service: ExperimentService, exp_id: str, *stages: str, outputs: dict[str, Any] | None = None
) -> None:
    """Run stages and complete them."""
    for stage in stages:
        await complete_run(service, await service.stages.run(exp_id, stage), outputs)


async def complete_run(service: ExperimentService, run: StageRecord, outputs: dict[str, Any] | None = None) -> None:
    """Report start and completion of a run."""
    await service.runs.start(run.exp_id, run.stage, run.run)
    await service.runs.complete(run.exp_id, run.stage, run.run, outputs or {"stage": run.stage})


async def start(
    service: ExperimentService, exp_id: str, stage: str, parameters: dict[str, Any] | None = None
) -> StageRecord:
    """Run a stage and report its start."""
    run = await service.stages.run(exp_id, stage, parameters)
    return (await service.runs.start(exp_id, stage, run.run)).record


async def pause(service: ExperimentService, run: StageRecord) -> None:
    """Request a pause of a run and report it."""
    await service.stages.control(run.exp_id, run.stage, "pause")
    await service.runs.pause(run.exp_id, run.stage, run.run)
