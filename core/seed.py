"""The seed of a request: one range for every API, for the queue and for the random generators."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from common.limits import MAX_SEED

Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
"""The same seed gives the same result."""
