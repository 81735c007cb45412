"""The field `schedule_at` of requests."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import Field

from core.errors import InvalidRequest

TOLERANCE_SECONDS: Final = 60.0
"""A time that passed while the request was on its way is accepted."""

ScheduleAt = Annotated[
    datetime | None, Field(description="Start no earlier than this time (ISO 8601; UTC without an offset).")
]


def scheduled_time(schedule_at: datetime | None) -> float | None:
    """Return the time in seconds since the epoch; raise InvalidRequest if it has passed."""
    if schedule_at is None:
        return None
    seconds = (schedule_at if schedule_at.tzinfo else schedule_at.replace(tzinfo=UTC)).timestamp()
    if seconds < time.time() - TOLERANCE_SECONDS:
        raise InvalidRequest(
            f"schedule_at is {schedule_at.isoformat()}, which has passed.", hint="Leave it out to begin now."
        )
    return seconds


def seconds_until(schedule_at: datetime | None) -> float:
    """Return the seconds from now until the time; 0 without one."""
    return max(0.0, (scheduled_time(schedule_at) or 0.0) - time.time())
