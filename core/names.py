"""Names and labels in requests."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from common.control_characters import CONTROL_CHARACTERS


def _reject_control_characters(name: str) -> str:
    if CONTROL_CHARACTERS.search(name):
        raise PydanticCustomError("control_characters", "a name has no control characters and no line breaks")
    return name


Name = Annotated[str, AfterValidator(_reject_control_characters)]
"""A name or label, which logs and terminals show on one line."""
