"""Building blocks of request and response bodies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, NotRequired, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict

from api.http.responses import JsonResponse
from core.records import Page

Record = TypeVar("Record")
View = TypeVar("View")

JsonObjectView: TypeAlias = Mapping[str, object]
"""A JSON object in a response whose fields depend on what it describes."""


JsonObjectBody: TypeAlias = dict[str, object]
"""A JSON object in a request whose fields are checked by what reads it."""


class StrictModel(BaseModel):
    """A request body that rejects unknown fields."""

    model_config = ConfigDict(extra="forbid")


class Deleted(TypedDict):
    """Something was deleted."""

    success: bool
    message: str


class PageView(TypedDict, Generic[View]):
    """One page of a list."""

    items: list[View]
    total: int
    limit: int
    offset: int
    next_cursor: NotRequired[str | None]
    """`cursor` of the next page, which is as quick as the first; null on the last one."""


def page_response(
    page: Page[Record], view: Callable[[Record], View], limit: int, offset: int, *, cursors: bool = False
) -> JsonResponse:
    """Return a page of records as a PageView; `total` counts the records on all pages.

    `cursors`: the list takes `cursor`.
    """
    content: PageView[View] = {
        "items": [view(record) for record in page.items],
        "total": page.total,
        "limit": limit,
        "offset": offset,
    }
    if cursors:
        content["next_cursor"] = page.next_cursor
    return JsonResponse(content)
