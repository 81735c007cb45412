"""Experiments: the stages of a voice, which an expert runs one by one."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from api.dependencies import Api, Limit, Offset
from api.http.responses import Json
from api.routes.stages import StageStarted, started_view
from api.routes.tasks import Version
from core.experiments.requests import ExperimentRequest
from core.records import ExperimentRecord, ExperimentStatus, StageRecord, iso

router = APIRouter(prefix="/experiments", tags=["Experiments"])


class NewExperiment(BaseModel):
    """An experiment on an uploaded recording or on a data set."""

    model_config = ConfigDict(extra="forbid")

    exp_name: str = Field(min_length=1, max_length=100, description="Its name, and that of the voice made of it.")
    version: Version = "v2"
    gpu_numbers: str = Field("0", description="GPUs that extract features: one number, or several as in 0-1-2.")
    is_half: bool = Field(True, description="Half precision where the GPU has a fast one.")
    audio_file_id: str | None = Field(None, description="From POST /files; this or dataset_id.")
    dataset_id: str | None = Field(None, description="From POST /datasets.")
    dataset_version: int | None = Field(None, ge=1, le=2**31 - 1, description="The newest when none is named.")
    language: str = Field("", description="What is spoken: zh, en, ja, ko, yue or auto; empty: the data set's, or zh.")
    priority: int = Field(5, ge=1, le=10, description="10 goes first.")
    device: str = Field("", max_length=20, description="Where it trains: cuda, cuda:N or cpu; empty: what is free.")


class ExperimentChange(BaseModel):
    """What changes; what is not given stays."""

    model_config = ConfigDict(extra="forbid")

    exp_name: str | None = Field(None, min_length=1, max_length=100)
    gpu_numbers: str | None = Field(None, description="One number, or several as in 0-1-2.")
    is_half: bool | None = None


class StageSummary(TypedDict):
    """Where a stage of an experiment is."""

    status: str
    progress: float
    message: str
    run: int
    job_id: str | None


class ExperimentView(TypedDict):
    """An experiment."""

    id: str
    exp_name: str
    version: str
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
    stages: dict[str, StageSummary]


class ExperimentPage(TypedDict):
    items: list[ExperimentView]
    total: int
    limit: int
    offset: int


class PresetStarted(TypedDict):
    """A preset that runs."""

    exp_id: str
    preset: str
    started: list[StageStarted]
    planned: list[str]


@router.post("", status_code=201, response_model=ExperimentView)
async def create_experiment(new: NewExperiment, api: Api) -> Response:
    """Create an experiment; nothing runs until a stage is asked for."""
    made = await api.experiments.create(
        ExperimentRequest(
            new.exp_name,
            new.audio_file_id,
            version=new.version,
            language=new.language,
            gpu_numbers=new.gpu_numbers,
            is_half=new.is_half,
            priority=new.priority,
            dataset_id=new.dataset_id,
            dataset_version=new.dataset_version,
            device=new.device,
        )
    )
    return Json(experiment_view(made, await api.records.stages.of_experiment(made.id)), 201)


@router.get("", response_model=ExperimentPage)
async def list_experiments(
    api: Api, limit: Limit = 50, offset: Offset = 0, status: Annotated[ExperimentStatus | None, Query()] = None
) -> Response:
    """The experiments, newest first; `task_id` names the task that drives one."""
    page = await api.records.experiments.page(limit, offset, status)
    stages = await api.records.stages.of_experiments(page.items)
    items = [experiment_view(one, stages[one.id]) for one in page.items]
    return Json({"items": items, "total": page.total, "limit": limit, "offset": offset})


@router.get("/{exp_id}", response_model=ExperimentView)
async def get_experiment(exp_id: str, api: Api) -> Response:
    """An experiment and where its stages are."""
    found = await api.records.experiments.get(exp_id)
    return Json(experiment_view(found, await api.records.stages.of_experiment(exp_id)))


@router.patch("/{exp_id}", response_model=ExperimentView)
async def change_experiment(exp_id: str, change: ExperimentChange, api: Api) -> Response:
    """Change its name, its GPUs or its precision; the next stage that begins sees it."""
    changed = await api.experiments.update(
        exp_id, exp_name=change.exp_name, gpu_numbers=change.gpu_numbers, is_half=change.is_half
    )
    return Json(experiment_view(changed, await api.records.stages.of_experiment(exp_id)))


@router.delete("/{exp_id}", status_code=204)
async def delete_experiment(exp_id: str, api: Api) -> Response:
    """Delete it with its files, logs and checkpoints, but for those that a voice uses; 409 while a stage runs."""
    await api.experiments.delete(exp_id)
    return Response(status_code=204)


@router.post("/{exp_id}/presets/{preset}", status_code=202, response_model=PresetStarted)
async def run_preset(
    exp_id: str,
    preset: str,
    api: Api,
    parameters: Annotated[dict[str, dict[str, Any]] | None, Body(description="Stage → its parameters.")] = None,
) -> Response:
    """Run a preset's stages, each as soon as what it reads is there; GET /stages/presets lists them."""
    begun = await api.experiments.stages.run_preset(exp_id, preset, parameters)
    planned = list((await api.records.experiments.get(exp_id)).planned)
    started = [started_view(run) for run in begun]
    return Json({"exp_id": exp_id, "preset": preset, "started": started, "planned": planned}, 202)


def experiment_view(record: ExperimentRecord, stages: list[StageRecord]) -> ExperimentView:
    return {
        "id": record.id,
        "exp_name": record.exp_name,
        "version": record.version,
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
        "stages": {
            run.stage: {
                "status": run.status,
                "progress": run.progress,
                "message": run.message,
                "run": run.run,
                "job_id": run.job_id or None,
            }
            for run in stages
        },
    }
