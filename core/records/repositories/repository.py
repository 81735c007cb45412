"""The base of every repository."""

from __future__ import annotations

from core.records.database import Database


class Repository:
    """The records of one kind; all repositories of a process share one `Database`."""

    def __init__(self, database: Database) -> None:
        self._database = database
