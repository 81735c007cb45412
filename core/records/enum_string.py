"""The type of columns that hold one of several words."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Generic, TypeVar

from sqlalchemy import String
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

Member = TypeVar("Member", bound=StrEnum)


class EnumString(TypeDecorator[Member], Generic[Member]):
    """A StrEnum in a plain string column: a new member needs no migration."""

    impl = String(20)
    cache_ok = True

    def __init__(self, members: type[Member]) -> None:
        super().__init__()
        self.members = members

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Member | None:
        return None if value is None else self.members(value)
