"""What every part of the records shares."""

from __future__ import annotations

from collections.abc import Callable

from core.records.database import Database


class Part:
    """Holds the database and the clock; the parts together are `Records`."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        """Seconds since the epoch."""
