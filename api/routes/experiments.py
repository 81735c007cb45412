"""Experiments: the stages of a voice, which an expert runs one by one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Query, Response
from pydantic import Field
from typing_extensions import TypedDict

from api.dependencies import Api, Cursor, Limit, Offset
from api.http.access import TRAINING
from api.http.localization import localized
from api.http.responses import JsonResponse
from api.http.schemas import Deleted, JsonObjectBody, PageView, StrictModel, page_response
from api.routes.stages.views import StageStarted, StageView, stage_view, started_view
from api.services.trained_language import warn_of_unknown_language
from common.versions import RequestedVersion
from core.experiments.model_versions import CONTRACT_DEFAULT
from core.experiments.requests import ExperimentRequest
from core.names import Name
from core.records import ExperimentRecord, ExperimentStatus, StageRecord, iso
from core.stages.parameter_schema import accept_parameters
from core.stages.stage import find_stage

router = APIRouter(
    prefix="/experiments",
    tags=["Experiments"],
    dependencies=[TRAINING],
)


class NewExperiment(StrictModel):
    """An experiment on an uploaded recording or on a data set."""

    exp_name: Name = Field(
        min_length=1, max_length=100, description="Name of the experiment and of the voice that it makes."
    )
    version: RequestedVersion | None = Field(
        None, description="Default: that of the server; `auto` is the best that is installed."
    )
    gpu_numbers: str = Field(
        "0", description="GPUs that train together and extract features: one number, or several as in 0-1-2 or 0,1,2."
    )
    is_half: bool = Field(True, description="Use half precision where the GPU is faster with it.")
    audio_file_id: str | None = Field(None, description="A recording from POST /files. Either this or dataset_id.")
    dataset_id: str | None = Field(None, description="A data set from POST /datasets.")
    dataset_version: int | None = Field(None, ge=1, le=2**31 - 1, description="Default: the newest version.")
    language: str = Field(
        "",
        description="Spoken language: zh, en, ja, ko, yue or auto. Default: that of the data set; zh for a recording.",
    )
    priority: int = Field(5, ge=1, le=10, description="10 runs first.")
    device: str = Field("", max_length=20, description="Device to train on: cuda, cuda:N or cpu. Default: any.")


class ExperimentChange(StrictModel):
    """Fields to change; fields that are left out stay as they are."""

    exp_name: Name | None = Field(None, min_length=1, max_length=100)
    gpu_numbers: str | None = Field(None, description="One number, or several as in 0-1-2 or 0,1,2.")
    is_half: bool | None = None


class ExperimentView(TypedDict):
    """An experiment."""

    id: str
    exp_name: str
    version: str
    """As the request named it; v2 when it named none."""
    model_version: str
    """What is trained: the named version, or the best that was installed."""
    language: str
    gpu_numbers: str
    device: str
    is_half: bool
    audio_file_id: str | None
    dataset_id: str | None
    dataset_version: int | None
    task_id: str | None
    priority: int
    status: str
    voice_id: str | None
    planned: list[str]
    created_at: str | None
    updated_at: str | None
    stages: dict[str, StageView]


class PresetStarted(TypedDict):
    """The stages of a preset: those that were started, and those that start when their inputs are ready.

    `warnings` names what was sent and changes nothing.
    """

    exp_id: str
    preset: str
    started: list[StageStarted]
    planned: list[str]
    warnings: list[str]


@router.post("", status_code=201, response_model=ExperimentView)
async def create_experiment(new: NewExperiment, api: Api) -> Response:
    """Create an experiment on one recording or one version of a data set.

    Nothing runs until a stage is started. 404 for an unknown recording or data set, 409 for a data set that is not
    ready.
    """
    request = ExperimentRequest(
        new.exp_name,
        new.audio_file_id,
        version=new.version or "",
        language=new.language,
        gpu_numbers=new.gpu_numbers,
        is_half=new.is_half,
        priority=new.priority,
        dataset_id=new.dataset_id,
        dataset_version=new.dataset_version,
        device=new.device,
    )
    experiment = await api.experiments.create(request)
    warn_of_unknown_language(experiment.version, experiment.language)
    return JsonResponse(experiment_view(experiment, await api.records.stages.of_experiment(experiment.id)), 201)


@router.get("", response_model=PageView[ExperimentView])
async def list_experiments(
    api: Api,
    limit: Limit = 50,
    offset: Offset = 0,
    status: Annotated[ExperimentStatus | None, Query()] = None,
    cursor: Cursor = "",
) -> Response:
    """List experiments, newest first. `task_id` is set on an experiment that belongs to a task."""
    page = await api.records.experiments.page(limit, offset, status, cursor=cursor)
    stages = await api.records.stages.of_experiments(page.items)
    return page_response(page, lambda record: experiment_view(record, stages[record.id]), limit, offset, cursors=True)


@router.get("/{exp_id}", response_model=ExperimentView)
async def get_experiment(exp_id: str, api: Api) -> Response:
    """Get an experiment with the status of its stages."""
    experiment = await api.records.experiments.get(exp_id)
    return JsonResponse(experiment_view(experiment, await api.records.stages.of_experiment(exp_id)))


@router.patch("/{exp_id}", response_model=ExperimentView)
async def change_experiment(exp_id: str, change: ExperimentChange, api: Api) -> Response:
    """Change the name, the GPUs or the precision. The next stage that starts uses the new values."""
    experiment = await api.experiments.update(
        exp_id, exp_name=change.exp_name, gpu_numbers=change.gpu_numbers, is_half=change.is_half
    )
    return JsonResponse(experiment_view(experiment, await api.records.stages.of_experiment(exp_id)))


@router.delete("/{exp_id}", response_model=Deleted)
async def delete_experiment(exp_id: str, api: Api) -> Response:
    """Delete an experiment with its files, logs and checkpoints.

    Promoted checkpoints and those of a voice stay. 409 while a stage is running.
    """
    await api.experiments.delete(exp_id)
    return JsonResponse(Deleted(success=True, message=localized(f"{exp_id} is deleted.")))


@router.post("/{exp_id}/presets/{preset}", response_model=PresetStarted)
async def run_preset(
    exp_id: str,
    preset: str,
    api: Api,
    parameters: Annotated[dict[str, JsonObjectBody] | None, Body(description="Stage → its parameters.")] = None,
) -> Response:
    """Run the stages of a preset, each as soon as its inputs are ready. GET /stages/presets lists the presets."""
    warnings: list[str] = []
    values: dict[str, dict[str, object]] = {}
    for stage, stage_values in (parameters or {}).items():
        accepted = accept_parameters(find_stage(stage).name, stage_values)
        values[stage] = accepted.values
        warnings += accepted.warnings
    runs = await api.experiments.stages.run_preset(exp_id, preset, values)
    planned = list((await api.records.experiments.get(exp_id)).planned)
    content: PresetStarted = {
        "exp_id": exp_id,
        "preset": preset,
        "started": [started_view(run) for run in runs],
        "planned": planned,
        "warnings": [localized(warning) for warning in warnings],
    }
    return JsonResponse(content)


def experiment_view(record: ExperimentRecord, stages: list[StageRecord]) -> ExperimentView:
    """Return an experiment with the newest run of each stage as the API shows it."""
    return {
        "id": record.id,
        "exp_name": record.exp_name,
        "version": record.version if record.version_named else CONTRACT_DEFAULT,
        "model_version": record.version,
        "language": record.language,
        "gpu_numbers": record.gpu_numbers,
        "device": record.device,
        "is_half": record.is_half,
        "audio_file_id": record.audio_file_id,
        "dataset_id": record.dataset_id,
        "dataset_version": record.dataset_version,
        "task_id": record.task_id,
        "priority": record.priority,
        "status": record.status,
        "voice_id": record.voice_id,
        "planned": list(record.planned),
        "created_at": iso(record.created_at),
        "updated_at": iso(record.updated_at),
        "stages": {run.stage: stage_view(run) for run in stages},
    }
