"""What the tests of expert mode share: stages that are done at once."""

from __future__ import annotations

from typing import Any

from core.experiments.service import ExperimentService
from core.records import StageRecord

BEFORE_TRAINING = ("convert", "audio_slice", "asr", "text_feature", "hubert_feature", "semantic_token")


async def complete(
    service: ExperimentService, exp_id: str, *stages: str, outputs: dict[str, Any] | None = None
) -> None:
    """Run stages and end them well."""
    for stage in stages:
        await end_well(service, await service.stages.run(exp_id, stage), outputs)


async def end_well(service: ExperimentService, run: StageRecord, outputs: dict[str, Any] | None = None) -> None:
    """What a worker tells of a run that it completes."""
    await service.runs.start(run.exp_id, run.stage, run.run)
    await service.runs.complete(run.exp_id, run.stage, run.run, outputs or {"stage": run.stage})


async def start(
    service: ExperimentService, exp_id: str, stage: str, parameters: dict[str, Any] | None = None
) -> StageRecord:
    """A run that its worker has begun."""
    run = await service.stages.run(exp_id, stage, parameters)
    return (await service.runs.start(exp_id, stage, run.run)).record


async def pause(service: ExperimentService, run: StageRecord) -> None:
    """Ask a run to pause, and let it obey."""
    await service.stages.control(run.exp_id, run.stage, "pause")
    await service.runs.pause(run.exp_id, run.stage, run.run)
