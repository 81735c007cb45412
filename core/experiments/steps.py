"""Experiments that are made before their recordings are there, and whose stages are asked for one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from core.errors import Conflict
from core.experiments.controls import Controls, stage_config
from core.experiments.new import Source, new_experiment
from core.experiments.requests import check_gpu_numbers, check_name, check_priority, choose_parameters
from core.experiments.rules import cancel, summarise
from core.records import STEPS_DOOR, Change, ExperimentRecord, StageRecord
from core.stages.stage import StageStatus, find, reads, unmet


class Steps(Controls):
    """What differs from expert mode: the order in which things are brought, and that a stage may be asked for early."""

    async def create_open_experiment(
        self,
        exp_name: str,
        version: str = "v2",
        language: str = "zh",
        gpu_numbers: str = "0",
        is_half: bool = True,
        priority: int = 5,
        parameters: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> ExperimentRecord:
        """One that has nothing to begin from yet; `begin_from` gives it that. `parameters`: stage → its parameters."""
        check_name(exp_name)
        check_priority(priority)
        check_gpu_numbers(gpu_numbers)
        chosen = choose_parameters({"asr": {"language": language}}, parameters, version)
        experiment = new_experiment(exp_name, version, language, Source(), chosen, self.clock())
        experiment = replace(experiment, gpu_numbers=gpu_numbers, is_half=is_half, priority=priority, door=STEPS_DOOR)
        return await self.records.create_experiment(experiment)

    async def begin_from(self, exp_id: str, source: Source) -> ExperimentRecord:
        """What `convert` reads from now on. Conflict while a stage reads something else."""
        async with self.records.change(exp_id) as change:
            if change.stage("convert").status.active:
                raise Conflict("convert is reading the recordings", hint="Wait for it, or cancel it.")
            change.set_experiment(
                audio_file_id=source.audio_file_id,
                dataset_id=source.dataset_id,
                dataset_version=source.dataset_version,
            )
        return change.experiment

    async def ask_stage(self, exp_id: str, stage: str, parameters: Mapping[str, Any] | None = None) -> StageRecord:
        """As `run_stage`; but while a stage that it reads from is under way, it waits and then begins by itself."""
        name = find(stage).name
        async with self.records.change(exp_id) as change:
            if _comes_later(change, name):
                config = stage_config(change, name, parameters)
                change.set_experiment(planned={**change.experiment.planned, name: config})
                summarise(change)
                return change.stage(name)
        return await self.run_stage(exp_id, name, parameters)

    async def stop_all(self, exp_id: str) -> ExperimentRecord:
        """Cancel every stage that waits, runs or pauses; what is finished stays. May be repeated."""
        async with self.records.change(exp_id) as change:
            if change.task is not None and not change.task.status.terminal:
                raise Conflict(f"{exp_id} belongs to task {change.task.id}", hint="Cancel the task.")
            change.set_experiment(planned={})
            for run in list(change.stages.values()):
                if run.status.active or run.status is StageStatus.PAUSED:
                    cancel(change, run.stage)
            to_stop = [run for run in change.stages.values() if run.status is StageStatus.CANCELLED]
            summarise(change)
        await self.cancel_jobs(to_stop)
        return change.experiment


def _comes_later(change: Change, name: str) -> bool:
    """Whether all that is missing for it has been asked for and not ended."""
    version = change.experiment.version
    if change.stage(name).status.active:
        return False
    coming = {one for one, status in change.statuses.items() if status.active} | change.experiment.planned.keys()
    missing = set(unmet(name, change.statuses, version))
    return missing <= coming and bool(coming.intersection(reads(name, version)))
