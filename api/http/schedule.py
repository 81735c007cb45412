"""A time in the future, as callers give it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import Field

from core.errors import InvalidRequest

LATE_SECONDS: Final = 60.0
"""A time that passed while the request was on its way is no mistake."""

ScheduleAt = Annotated[datetime | None, Field(description="Not before this time; without a zone it is UTC.")]


def moment(given: datetime | None) -> float | None:
    """Seconds since the epoch; InvalidRequest for a time that has passed."""
    if given is None:
        return None
    seconds = (given if given.tzinfo else given.replace(tzinfo=UTC)).timestamp()
    if seconds < time.time() - LATE_SECONDS:
        raise InvalidRequest(
            f"schedule_at is {given.isoformat()}, which has passed.", hint="Leave it out to begin now."
        )
    return seconds


def seconds_until(given: datetime | None) -> float:
    """How long to wait for it; 0 for now."""
    return max(0.0, (moment(given) or 0.0) - time.time())
