"""Who calls: what a client may do with its API key, so that it can offer just that."""

from __future__ import annotations

from fastapi import APIRouter, Response
from typing_extensions import TypedDict

from api.dependencies import Api, RequestCaller
from api.http.access import ANY_KEY
from api.http.responses import JsonResponse
from core.access import LOCAL, Scope

router = APIRouter(tags=["API keys"], dependencies=[ANY_KEY])


class CallerView(TypedDict):
    """The caller of a request."""

    key_id: str
    """Empty where no key is needed."""
    owner: str | None
    scopes: list[str]
    key_required: bool


@router.get("/me", response_model=CallerView)
async def get_caller(api: Api, caller: RequestCaller) -> Response:
    """Get the id, the owner and the scopes of the API key that this request was sent with."""
    scopes = [scope for scope in Scope if caller.has(scope)]
    content: CallerView = {
        "key_id": caller.key_id,
        "owner": caller.owner,
        "scopes": [str(scope) for scope in scopes],
        "key_required": caller is not LOCAL,
    }
    return JsonResponse(content)
