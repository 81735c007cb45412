"""Experiments and tasks as they begin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from core.errors import Conflict, InvalidRequest
from core.experiments.rules import waiting_message
from core.ids import new_id
from core.records import ExperimentRecord, ExperimentStatus, Records, StageRecord, TaskRecord, TaskStatus
from core.stages.stage import StageStatus, check_version, order, parse_parameters

_UNREADY: Final = "Wait until it is ready; one that failed is made again, or left for another."


@dataclass(frozen=True, slots=True)
class Source:
    """What an experiment begins from: an uploaded recording or a version of a data set."""

    audio_file_id: str | None = None
    dataset_id: str | None = None
    dataset_version: int | None = None
    language: str = "zh"
    """What is spoken in it, as far as it is known."""


async def find_source(
    records: Records,
    audio_file_id: str | None,
    dataset_id: str | None,
    dataset_version: int | None,
    *,
    unready: bool = False,
) -> Source:
    """Exactly one of the two, and of a data set the newest version unless one is named.

    NotFound for what is not there; Conflict for a version that cannot be read yet, unless `unready` lets the first
    stage wait for it.
    """
    if bool(audio_file_id) == bool(dataset_id):
        raise InvalidRequest(
            "An experiment begins from one thing: audio_file_id or dataset_id.",
            hint="POST /api/v1/files uploads a recording, POST /api/v1/datasets makes a data set.",
        )
    if not dataset_id:
        return Source(audio_file_id=audio_file_id)
    dataset = await records.get_dataset(dataset_id)
    version = dataset_version or dataset.version or (dataset.latest if unready else 0)
    if version == 0:
        raise Conflict(f"data set {dataset_id} is {dataset.status}", hint=_UNREADY)
    made = await records.get_dataset_version(dataset_id, version)
    if made.status != "ready" and not (unready and made.status == "preparing"):
        raise Conflict(f"version {version} of data set {dataset_id} is {made.status}", hint=_UNREADY)
    return Source(dataset_id=dataset_id, dataset_version=version, language=dataset.language)


def new_experiment(
    exp_name: str,
    version: str,
    language: str,
    source: Source,
    parameters: dict[str, dict[str, Any]],
    now: float,
) -> ExperimentRecord:
    """One in expert mode, all defaults; InvalidRequest for an unknown version."""
    return ExperimentRecord(
        id=new_id("exp"),
        exp_name=exp_name,
        version=check_version(version),
        language=language,
        gpu_numbers="0",
        is_half=True,
        audio_file_id=source.audio_file_id,
        task_id=None,
        priority=5,
        parameters=parameters,
        status=ExperimentStatus.CREATED,
        voice_id=None,
        created_at=now,
        updated_at=now,
        dataset_id=source.dataset_id,
        dataset_version=source.dataset_version,
    )


def new_task(
    experiment: ExperimentRecord, quality: str, idempotency_key: str, webhook_url: str, schedule_at: float | None
) -> TaskRecord:
    """The task that drives an experiment, which names it already."""
    assert experiment.task_id is not None
    return TaskRecord(
        id=experiment.task_id,
        exp_id=experiment.id,
        exp_name=experiment.exp_name,
        audio_file_id=experiment.audio_file_id,
        version=experiment.version,
        language=experiment.language,
        quality=quality,
        priority=experiment.priority,
        status=TaskStatus.QUEUED,
        current_stage=order(experiment.version)[0],
        progress=0.0,
        overall_progress=0.0,
        message=waiting_message(schedule_at, experiment.created_at),
        error=None,
        webhook_url=webhook_url,
        schedule_at=schedule_at,
        idempotency_key=idempotency_key or None,
        voice_id=None,
        created_at=experiment.created_at,
        started_at=None,
        completed_at=None,
    )


def first_run(experiment: ExperimentRecord, schedule_at: float | None = None) -> StageRecord:
    """The first stage of a task, waiting for its time or a worker."""
    first = order(experiment.version)[0]
    return StageRecord(
        exp_id=experiment.id,
        stage=first,
        status=StageStatus.QUEUED,
        run=1,
        work_run=1,
        message=waiting_message(schedule_at, experiment.created_at),
        schedule_at=schedule_at,
        config=parse_parameters(first, experiment.parameters.get(first, {})),
        basis={"is_half": experiment.is_half},
        queued_at=experiment.created_at,
    )
