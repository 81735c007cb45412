"""What a database's refusals mean for whoever asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sqlalchemy.exc import DBAPIError

from core.errors import InvalidRequest, RecordsUnavailable

_DATA_EXCEPTION = "22"
"""The class of SQL states for values that fit nowhere: too long, out of range, not of this encoding."""


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """RecordsUnavailable for a connection that broke, InvalidRequest for a value that no column can hold.

    A broken constraint (IntegrityError) goes on as it is: only the caller knows what it means.
    """
    try:
        yield
    except OverflowError as error:  # SQLite's integers have 64 bits
        raise InvalidRequest(f"A number of the request cannot be stored: {error}.") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise RecordsUnavailable("The database went away.", hint="Try again shortly.") from error
        if _is_about_a_value(error):
            raise InvalidRequest(f"A value of the request cannot be stored: {error.orig}.") from error
        raise


def _is_about_a_value(error: DBAPIError) -> bool:
    state = str(getattr(error.orig, "sqlstate", None) or "")
    # asyncpg refuses some values itself, before they are sent; the driver's own error is the cause.
    refused_here = error.orig is not None and isinstance(error.orig.__cause__, ValueError)
    return state.startswith(_DATA_EXCEPTION) or refused_here
