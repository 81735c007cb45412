"""Errors of the database driver as errors of sovitsd."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from sqlalchemy.exc import DBAPIError

from core.errors import InvalidRequest, RecordsUnavailable

_DATA_EXCEPTION: Final = "22"
"""The class of SQL states for values that do not fit: too long, out of range, not in this encoding."""


@contextlib.contextmanager
def convert_driver_errors() -> Iterator[None]:
    """Raise RecordsUnavailable for a broken connection, InvalidRequest for a value that no column can hold.

    A violated constraint (IntegrityError) passes unchanged: only the caller knows what it means.
    """
    try:
        yield
    except OverflowError as error:  # SQLite's integers have 64 bits
        raise InvalidRequest(f"A number of the request cannot be stored: {error}.") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise RecordsUnavailable("The database went away.", hint="Try again shortly.") from error
        sql_state = str(getattr(error.orig, "sqlstate", None) or "")
        # asyncpg rejects some values itself, before they are sent; the driver's own error is the cause.
        rejected_by_driver = error.orig is not None and isinstance(error.orig.__cause__, ValueError)
        if sql_state.startswith(_DATA_EXCEPTION) or rejected_by_driver:
            raise InvalidRequest(f"A value of the request cannot be stored: {error.orig}.") from error
        raise
