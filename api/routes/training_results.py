"""What a training has to show: losses as numbers and as a picture, its judged checkpoints, and what they sound like."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse
from typing_extensions import TypedDict

from api.dependencies import Api
from api.http.responses import Json
from core.errors import NotFound
from core.experiments.training_results import artefact, artefacts, read_results
from core.stages.stage import find_stage

router = APIRouter(prefix="/experiments/{exp_id}/stages/{stage}", tags=["Stages"])

MOST_POINTS = 5000
MEDIA_TYPES = {"png": "image/png", "wav": "audio/wav"}


class EpochView(TypedDict):
    """The mean of each loss over an epoch."""

    epoch: int
    losses: dict[str, float | None]


class CurveView(TypedDict):
    """Losses of single steps: `losses[name][i]` belongs to `steps[i]`."""

    steps: list[int]
    losses: dict[str, list[float | None]]


class ResultsView(TypedDict):
    """The newest run of a training."""

    exp_id: str
    stage_type: str
    status: str
    run: int
    metrics: dict[str, Any]
    epochs: list[EpochView]
    curve: CurveView
    checkpoints: list[dict[str, Any]]
    artefacts: list[str]


@router.get("/metrics", response_model=ResultsView)
async def training_metrics(
    exp_id: str,
    stage: str,
    api: Api,
    points: Annotated[int, Query(ge=0, le=MOST_POINTS, description="Single steps to tell, evenly chosen.")] = 0,
) -> Response:
    """The losses of a training, also while it runs, and every saved epoch with its numbers: `wer`, `similarity`, …"""
    record = await api.records.stages.get(exp_id, find_stage(stage).name)
    results = await asyncio.to_thread(read_results, api.storage, record, points)
    return Json(
        {
            "exp_id": exp_id,
            "stage_type": record.stage,
            "status": record.status,
            "run": record.run,
            "metrics": results.metrics,
            "epochs": results.epochs,
            "curve": {"steps": results.steps, "losses": results.losses},
            "checkpoints": results.checkpoints,
            "artefacts": list(artefacts(record)),
        }
    )


@router.get("/artefacts/{name}", response_class=FileResponse)
async def stage_artefact(exp_id: str, stage: str, name: str, api: Api) -> Response:
    """A picture or a sound that a run left: `loss.png`, `e4.wav` of epoch 4, `sample.wav` of test_inference."""
    record = await api.records.stages.get(exp_id, find_stage(stage).name)
    key = artefact(record, name)
    path = await asyncio.to_thread(api.storage.path, key)
    if not path.is_file():
        raise NotFound(f"{name} of {record.stage} is gone.", hint="Run the stage again.")
    return FileResponse(path, media_type=MEDIA_TYPES.get(name.rpartition(".")[2], "application/octet-stream"))
