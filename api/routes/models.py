"""Models: every checkpoint, what it was made of, and who speaks with it."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from api.dependencies import Api, Limit, Offset, Services
from api.http.responses import Json
from core.errors import NotFound
from core.records import CheckpointRecord, VoiceRecord, iso
from core.voices.import_job import import_lock

router = APIRouter(prefix="/models", tags=["Models"])

Version = Literal["v1", "v2", "v2Pro", "v2ProPlus", "v3", "v4", "nano"]


class UserView(TypedDict):
    """A voice that speaks with a checkpoint."""

    id: str
    name: str


class ModelView(TypedDict):
    """A checkpoint."""

    id: str
    type: str
    version: str
    name: str
    epoch: int | None
    step: int | None
    metrics: dict[str, Any]
    sha256: str
    size_bytes: int
    promoted: bool
    exp_id: str | None
    lineage: dict[str, Any]
    voices: list[UserView]
    created_at: str | None


class ModelPage(TypedDict):
    items: list[ModelView]
    total: int
    limit: int
    offset: int


class Promotion(BaseModel):
    """Whether a checkpoint is one of the chosen ones."""

    model_config = ConfigDict(extra="forbid")

    promoted: bool = Field(True, description="False takes it back.")


@router.get("", response_model=ModelPage)
async def list_models(
    api: Api,
    limit: Limit = 50,
    offset: Offset = 0,
    type: Annotated[Literal["gpt", "sovits"] | None, Query()] = None,
    version: Annotated[Version | None, Query()] = None,
    exp_id: Annotated[str | None, Query(max_length=64)] = None,
    promoted: Annotated[bool | None, Query()] = None,
) -> Response:
    """The checkpoints, newest first."""
    page = await api.records.checkpoints.page(
        limit, offset, kind=type, version=version, exp_id=exp_id, promoted=promoted
    )
    users = await api.records.voices.by_checkpoint([one.id for one in page.items])
    items = [model_view(one, users.get(one.id, [])) for one in page.items]
    return Json({"items": items, "total": page.total, "limit": limit, "offset": offset})


@router.get("/{model_id}", response_model=ModelView)
async def get_model(model_id: str, api: Api) -> Response:
    """One checkpoint."""
    return Json(await _shown(api, await _find(api, model_id)))


@router.post("/{model_id}/promote", response_model=ModelView)
async def promote_model(model_id: str, api: Api, promotion: Promotion | None = None) -> Response:
    """Mark a checkpoint as chosen: it is kept when its experiment is cleaned up. `promoted: false` takes it back."""
    await _find(api, model_id)
    chosen = promotion is None or promotion.promoted
    return Json(await _shown(api, await api.records.checkpoints.promote(model_id, chosen)))


@router.delete("/{model_id}", status_code=204)
async def delete_model(model_id: str, api: Api) -> Response:
    """Delete a checkpoint and its file; 409 names the voices that speak with it."""
    with ExitStack() as stack:
        # An import must not bring the same weights back in between.
        await asyncio.to_thread(stack.enter_context, import_lock(api.settings.data_path))
        await api.records.checkpoints.delete_with_file(model_id, lambda key: asyncio.to_thread(api.storage.delete, key))
    return Response(status_code=204)


async def _find(api: Services, model_id: str) -> CheckpointRecord:
    try:
        return await api.records.checkpoints.get(model_id)
    except NotFound:
        raise NotFound(f"There is no model {model_id!r}.", hint="GET /api/v1/models lists them.") from None


async def _shown(api: Services, record: CheckpointRecord) -> ModelView:
    return model_view(record, (await api.records.voices.by_checkpoint([record.id])).get(record.id, []))


def model_view(record: CheckpointRecord, users: list[VoiceRecord]) -> ModelView:
    return {
        "id": record.id,
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
        "voices": [{"id": voice.id, "name": voice.name} for voice in users],
        "created_at": iso(record.created_at),
    }
