"""Models: the checkpoints, their lineage, and the voices that use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field
from typing_extensions import TypedDict

from api.dependencies import Api, ApiServices, Cursor, Limit, Offset
from api.http.access import TRAINING
from api.http.localization import localized
from api.http.responses import JsonResponse
from api.http.schemas import Deleted, JsonObjectView, PageView, StrictModel, page_response
from common.versions import Version
from core.records import CheckpointRecord, ExperimentRecord, VoiceRecord, iso

router = APIRouter(
    prefix="/models",
    tags=["Models"],
    dependencies=[TRAINING],
)


class ModelVoiceView(TypedDict):
    """A voice that uses a checkpoint."""

    id: str
    name: str
    release_id: str | None
    """What it speaks with: equal ids, equal weights, text front end and settings, on any site."""


class ModelView(TypedDict):
    """A checkpoint; `task_id`, `experiment_id` and `exp_name` say what trained it, while that exists."""

    id: str
    task_id: str | None
    experiment_id: str | None
    exp_name: str | None
    model_type: str
    type: str
    version: str
    name: str
    epoch: int | None
    step: int | None
    metrics: JsonObjectView
    sha256: str
    size_bytes: int
    promoted: bool
    exp_id: str | None
    lineage: JsonObjectView
    voices: list[ModelVoiceView]
    created_at: str | None


class Promotion(StrictModel):
    """Whether a checkpoint is promoted."""

    promoted: bool = Field(True, description="false revokes the promotion.")


@router.get("", response_model=PageView[ModelView])
async def list_models(
    api: Api,
    limit: Limit = 50,
    offset: Offset = 0,
    cursor: Cursor = "",
    type: Annotated[Literal["gpt", "sovits"] | None, Query()] = None,
    version: Annotated[Version | None, Query()] = None,
    exp_id: Annotated[str | None, Query(max_length=64)] = None,
    promoted: Annotated[bool | None, Query()] = None,
) -> Response:
    """List checkpoints, newest first."""
    page = await api.records.checkpoints.page(
        limit, offset, kind=type, version=version, exp_id=exp_id, promoted=promoted, cursor=cursor
    )
    voices = await api.checkpoints.voices(page.items)
    releases = await api.releases.of([voice for users in voices.values() for voice in users])
    experiments = await api.checkpoints.experiments(page.items)

    def view(record: CheckpointRecord) -> ModelView:
        return model_view(record, voices[record.id], experiments.get(record.exp_id or ""), releases)

    return page_response(page, view, limit, offset, cursors=True)


@router.get("/{model_id}", response_model=ModelView)
async def get_model(model_id: str, api: Api) -> Response:
    """Get a checkpoint with its metrics, its lineage and the voices that use it."""
    return await _model_response(api, await api.checkpoints.get(model_id))


@router.post("/{model_id}/promote", response_model=ModelView)
async def promote_model(model_id: str, api: Api, promotion: Promotion | None = None) -> Response:
    """Promote a checkpoint: it is kept when its experiment is deleted. `promoted: false` revokes that."""
    promoted = promotion is None or promotion.promoted
    return await _model_response(api, await api.checkpoints.promote(model_id, promoted))


@router.delete("/{model_id}", response_model=Deleted)
async def delete_model(model_id: str, api: Api) -> Response:
    """Delete a checkpoint and its file. 409 names the voices that use it."""
    await api.checkpoints.delete(model_id)
    return JsonResponse(Deleted(success=True, message=localized(f"{model_id} is deleted.")))


async def _model_response(api: ApiServices, record: CheckpointRecord) -> JsonResponse:
    voices = await api.checkpoints.voices([record])
    experiments = await api.checkpoints.experiments([record])
    releases = await api.releases.of(voices[record.id])
    return JsonResponse(model_view(record, voices[record.id], experiments.get(record.exp_id or ""), releases))


def model_view(
    record: CheckpointRecord,
    voices: Sequence[VoiceRecord],
    experiment: ExperimentRecord | None,
    releases: Mapping[str, str | None],
) -> ModelView:
    """Return a checkpoint as the API shows it, with what trained it and the voices that use it, and their releases."""
    return {
        "id": record.id,
        "task_id": experiment.task_id if experiment is not None else None,
        "experiment_id": record.exp_id,
        "exp_name": experiment.exp_name if experiment is not None else None,
        "model_type": record.kind,
        "type": record.kind,
        "version": record.version,
        "name": record.name,
        "epoch": record.epoch,
        "step": record.step,
        "metrics": record.metrics,
        "sha256": record.sha256,
        "size_bytes": record.size_bytes,
        "promoted": record.promoted,
        "exp_id": record.exp_id,
        "lineage": record.lineage,
        "voices": [{"id": voice.id, "name": voice.name, "release_id": releases[voice.id]} for voice in voices],
        "created_at": iso(record.created_at),
    }
