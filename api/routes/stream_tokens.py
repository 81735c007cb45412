"""Tokens for streams in a browser, whose EventSource and WebSocket cannot send headers."""

from __future__ import annotations

import time

from fastapi import APIRouter, Response
from pydantic import Field
from typing_extensions import TypedDict

from api.dependencies import Api, RequestCaller
from api.http.access import ANY_KEY
from api.http.responses import JsonResponse
from api.http.schemas import StrictModel
from api.http.stream_tokens import TOKEN_SECONDS
from core.access import Scope
from core.records import iso

router = APIRouter(tags=["Service"], dependencies=[ANY_KEY])


class NewStreamToken(StrictModel):
    """What the token is for."""

    scope: Scope = Field(Scope.READ, description="The only scope that the token has; its creator must have it, too.")


class StreamTokenView(TypedDict):
    """A token for the parameter `token` of a stream's URL."""

    token: str
    scope: str
    expires_in: int
    expires_at: str


@router.post("/stream-tokens", status_code=201, response_model=StreamTokenView)
async def create_stream_token(api: Api, caller: RequestCaller, new: NewStreamToken | None = None) -> Response:
    """Create a token that opens event streams and WebSockets for some minutes: `GET …/progress?token=st-…`."""
    scope = (new or NewStreamToken()).scope
    caller.require(scope, "such a token")
    token = await api.stream_tokens.create(caller.key_id, scope)
    content: StreamTokenView = {
        "token": token,
        "scope": scope,
        "expires_in": TOKEN_SECONDS,
        "expires_at": iso(time.time() + TOKEN_SECONDS),
    }
    return JsonResponse(content, 201)
