"""The records of experiments and tasks as they begin."""

from __future__ import annotations

from core.access import current_caller
from core.creation import creation_id
from core.experiments.lifecycle import waiting_message
from core.experiments.requests import ExperimentRequest, TaskRequest
from core.experiments.sources import ExperimentSource
from core.jobs.devices import DEFAULT_GPU_NUMBERS
from core.records import ExperimentRecord, ExperimentStatus, StageRecord, StepwiseState, TaskRecord, TaskStatus
from core.stages.order import stage_order
from core.stages.parameter_schema import parse_parameters
from core.stages.stage import check_version
from core.stages.status import StageStatus


def new_experiment(
    request: TaskRequest | ExperimentRequest,
    source: ExperimentSource,
    parameters: dict[str, dict[str, object]],
    *,
    now: float,
    dialect: str = "",
    stepwise: StepwiseState | None = None,
) -> ExperimentRecord:
    """Return a new experiment; that of a task names its task and runs.

    Raises:
        InvalidRequest: an unknown version.
    """
    of_task = isinstance(request, TaskRequest)
    gpu_numbers, is_half = (DEFAULT_GPU_NUMBERS, True)
    if isinstance(request, ExperimentRequest):
        gpu_numbers, is_half = request.gpu_numbers, request.is_half
    return ExperimentRecord(
        id=creation_id("exp"),
        exp_name=request.exp_name,
        version=check_version(request.version),
        language=request.language or source.language,
        gpu_numbers=gpu_numbers,
        is_half=is_half,
        audio_file_id=source.audio_file_id,
        task_id=creation_id("task") if of_task else None,
        priority=request.priority,
        parameters=parameters,
        status=ExperimentStatus.RUNNING if of_task else ExperimentStatus.CREATED,
        voice_id=None,
        created_at=now,
        updated_at=now,
        dataset_id=source.dataset_id,
        dataset_version=source.dataset_version,
        dialect=dialect,
        owner=current_caller().owner,
        stepwise=stepwise or StepwiseState(),
        consent_id=(request.consent_id or None) if isinstance(request, TaskRequest) else None,
    )


def new_task(experiment: ExperimentRecord, request: TaskRequest) -> TaskRecord:
    """Return the task that runs an experiment, which names it already."""
    assert experiment.task_id is not None
    return TaskRecord(
        id=experiment.task_id,
        exp_id=experiment.id,
        exp_name=experiment.exp_name,
        audio_file_id=experiment.audio_file_id,
        version=experiment.version,
        language=experiment.language,
        quality=request.quality,
        priority=experiment.priority,
        status=TaskStatus.QUEUED,
        current_stage=stage_order(experiment.version)[0],
        progress=0.0,
        overall_progress=0.0,
        message=waiting_message(request.schedule_at, experiment.created_at),
        error=None,
        webhook_url=request.webhook_url,
        schedule_at=request.schedule_at,
        idempotency_key=request.idempotency_key or None,
        voice_id=None,
        created_at=experiment.created_at,
        started_at=None,
        completed_at=None,
        upload_url=request.upload_url,
        owner=experiment.owner,
        labels=request.labels,
    )


def first_run(experiment: ExperimentRecord, schedule_at: float | None = None) -> StageRecord:
    """Return the queued first run of a task."""
    stage = stage_order(experiment.version)[0]
    return StageRecord(
        exp_id=experiment.id,
        stage=stage,
        status=StageStatus.QUEUED,
        run=1,
        work_run=1,
        message=waiting_message(schedule_at, experiment.created_at),
        schedule_at=schedule_at,
        config=parse_parameters(stage, experiment.parameters.get(stage, {})),
        basis={"is_half": experiment.is_half},
        queued_at=experiment.created_at,
    )
