"""Results of a training: losses, evaluated checkpoints, plots and audio samples."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse
from typing_extensions import TypedDict

from api.dependencies import Api
from api.http.access import TRAINING
from api.http.responses import JsonResponse, stored_file_response
from api.http.schemas import JsonObjectView
from core.errors import NotFound
from core.experiments.training_results import artifact_key, artifacts, read_results
from core.stages.stage import find_stage

router = APIRouter(
    prefix="/experiments/{exp_id}/stages/{stage}",
    tags=["Stages"],
    dependencies=[TRAINING],
)

MAX_POINTS: Final = 5000
_MEDIA_TYPES: Final = {"png": "image/png", "wav": "audio/wav"}


class EpochView(TypedDict):
    """The mean of each loss over an epoch."""

    epoch: int
    losses: dict[str, float | None]


class CurveView(TypedDict):
    """Losses of single steps: `losses[name][i]` belongs to `steps[i]`."""

    steps: list[int]
    losses: dict[str, list[float | None]]


class TrainingResultsView(TypedDict):
    """The results of the newest run of a training."""

    exp_id: str
    stage_type: str
    status: str
    run: int
    metrics: JsonObjectView
    epochs: list[EpochView]
    curve: CurveView
    checkpoints: list[JsonObjectView]
    previews: list[JsonObjectView]
    """What it has spoken so far: the first sentence by its base (epoch 0), and by each epoch that was evaluated."""
    artefacts: list[str]


@router.get("/metrics", response_model=TrainingResultsView)
async def training_metrics(
    exp_id: str,
    stage: str,
    api: Api,
    points: Annotated[
        int, Query(ge=0, le=MAX_POINTS, description="Number of single steps in `curve`, evenly spaced.")
    ] = 0,
) -> Response:
    """Get the losses and the evaluated checkpoints of a training, also while it is running.

    Each saved epoch has its numbers, such as `wer` and `similarity`, as soon as it was evaluated. `previews` names what
    can be heard, also of the model before its first step (epoch 0). 400 for a stage that is no training.
    """
    record = await api.records.stages.get(exp_id, find_stage(stage).name)
    results = await asyncio.to_thread(read_results, api.storage, record, points)
    content: TrainingResultsView = {
        "exp_id": exp_id,
        "stage_type": record.stage,
        "status": record.status,
        "run": record.run,
        "metrics": results.metrics,
        "epochs": [{"epoch": epoch["epoch"], "losses": epoch["losses"]} for epoch in results.epochs],
        "curve": {"steps": results.steps, "losses": results.losses},
        "checkpoints": list(results.checkpoints),
        "previews": list(record.previews),
        "artefacts": list(artifacts(record)),
    }
    return JsonResponse(content)


@router.get("/artefacts/{name}", response_class=FileResponse)
async def stage_artefact(exp_id: str, stage: str, name: str, api: Api) -> Response:
    """Download a plot or an audio sample of a run: `loss.png`, `e4.wav` of epoch 4, `sample.wav` of test_inference.

    Those of a training are there while it still runs, `e0.wav` of its base first.
    """
    record = await api.records.stages.get(exp_id, find_stage(stage).name)
    return await stored_file_response(
        api.storage,
        artifact_key(record, name),
        _MEDIA_TYPES.get(name.rpartition(".")[2], "application/octet-stream"),
        missing=NotFound(f"{name} of {record.stage} is gone.", hint="Run the stage again."),
    )
