"""DATABASE_URL: which databases it may name, and with which driver they are opened."""

from __future__ import annotations

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from core.errors import RecordsUnavailable


def is_sqlite(url: str) -> bool:
    """Return whether a URL names a SQLite file; raise RecordsUnavailable as `parse_url` does."""
    return parse_url(url).get_backend_name() == "sqlite"


def with_async_driver(url: str) -> URL:
    """Return the URL with the driver that is used here: `postgres://` and `postgresql://` mean asyncpg.

    `sslmode`, as other clients write it, becomes asyncpg's `ssl`.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        return parsed.set(drivername="sqlite+aiosqlite")
    query = dict(parsed.query)
    if "sslmode" in query:
        query["ssl"] = query.pop("sslmode")
    return parsed.set(drivername="postgresql+asyncpg", query=query)


def parse_url(url: str) -> URL:
    """Parse a database URL; raise RecordsUnavailable for an invalid one or an unsupported database."""
    try:
        parsed = make_url(url.replace("postgres://", "postgresql://", 1))
        backend = parsed.get_backend_name()
    except ArgumentError:
        backend = ""
    if backend not in ("sqlite", "postgresql"):
        raise RecordsUnavailable(
            "DATABASE_URL is the address of no database that is known here.",
            hint="postgresql+asyncpg://user:password@host/name, sqlite+aiosqlite:///path, or nothing.",
        )
    return parsed
