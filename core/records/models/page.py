"""A page of a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items of a list, newest first unless the method says otherwise."""

    items: list[Item]
    total: int
    """Number of items in the whole list."""
    next_cursor: str | None = None
    """For the page after this one; None on the last page, and of lists that have no cursor."""
