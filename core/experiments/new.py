"""Experiments and tasks as they begin."""

from __future__ import annotations

from typing import Any

from core.experiments.rules import WAITING_MESSAGE
from core.ids import new_id
from core.records import ExperimentRecord, ExperimentStatus, StageRecord, TaskRecord, TaskStatus
from core.stage import StageStatus, check_version, order, parse_parameters


def new_experiment(
    exp_name: str,
    version: str,
    language: str,
    audio_file_id: str,
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
        audio_file_id=audio_file_id,
        task_id=None,
        priority=5,
        parameters=parameters,
        status=ExperimentStatus.CREATED,
        voice_id=None,
        created_at=now,
        updated_at=now,
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
        message=WAITING_MESSAGE,
        error=None,
        webhook_url=webhook_url,
        schedule_at=schedule_at,
        idempotency_key=idempotency_key or None,
        voice_id=None,
        created_at=experiment.created_at,
        started_at=None,
        completed_at=None,
    )


def first_run(experiment: ExperimentRecord) -> StageRecord:
    """The first stage of a task, waiting for a worker."""
    first = order(experiment.version)[0]
    return StageRecord(
        exp_id=experiment.id,
        stage=first,
        status=StageStatus.QUEUED,
        run=1,
        work_run=1,
        message=WAITING_MESSAGE,
        config=parse_parameters(first, experiment.parameters.get(first, {})),
    )
