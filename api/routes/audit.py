"""The audit log."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from typing_extensions import TypedDict

from api.dependencies import Api, Limit, Offset
from api.http.access import ADMINS
from api.http.responses import JsonResponse
from api.http.schemas import PageView
from core.audit import AuditFilter

router = APIRouter(tags=["Service"], dependencies=[ADMINS])


class AuditEntryView(TypedDict):
    """One request that may have changed something, or was rejected."""

    time: str
    request_id: str
    caller: str
    address: str
    method: str
    path: str
    status: int
    result: str


@router.get("/audit", response_model=PageView[AuditEntryView])
async def list_audit_entries(
    api: Api,
    limit: Limit = 50,
    offset: Offset = 0,
    caller: Annotated[str, Query(max_length=200, description="Id of an API key.")] = "",
    address: Annotated[str, Query(max_length=100, description="IP address of the client.")] = "",
    method: Annotated[str, Query(max_length=20)] = "",
    path: Annotated[str, Query(max_length=500, description="Beginning of the path.")] = "",
    request_id: Annotated[str, Query(max_length=200)] = "",
    status: Annotated[int | None, Query(ge=100, le=599)] = None,
    result: Annotated[Literal["", "done", "rejected", "failed"], Query()] = "",
) -> Response:
    """List who did what, newest first: every call that may have changed something, and every rejection."""
    entry_filter = AuditFilter(caller, address, method, path, request_id, result, status)
    entries = await asyncio.to_thread(lambda: list(api.audit.entries(entry_filter)))
    content: PageView[AuditEntryView] = {
        "items": [AuditEntryView(**asdict(entry)) for entry in entries[offset : offset + limit]],  # type: ignore[typeddict-item]
        "total": len(entries),
        "limit": limit,
        "offset": offset,
    }
    return JsonResponse(content)
