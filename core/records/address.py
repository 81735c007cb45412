"""What DATABASE_URL may say."""

from __future__ import annotations

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from core.errors import RecordsUnavailable


def is_sqlite(url: str) -> bool:
    return parse(url).get_backend_name() == "sqlite"


def usable(url: str) -> URL:
    """The address with the driver that is used here: `postgres://` and `postgresql://` mean asyncpg.

    `sslmode`, as other clients write it, becomes what asyncpg calls it.
    """
    address = parse(url)
    if address.get_backend_name() == "sqlite":
        return address.set(drivername="sqlite+aiosqlite")
    query = dict(address.query)
    if "sslmode" in query:
        query["ssl"] = query.pop("sslmode")
    return address.set(drivername="postgresql+asyncpg", query=query)


def parse(url: str) -> URL:
    """RecordsUnavailable for what is no address, and for databases that are not spoken to here."""
    try:
        address = make_url(url.replace("postgres://", "postgresql://", 1))
        backend = address.get_backend_name()
    except ArgumentError:
        backend = ""
    if backend not in ("sqlite", "postgresql"):
        raise RecordsUnavailable(
            "DATABASE_URL is the address of no database that is known here.",
            hint="postgresql+asyncpg://user:password@host/name, sqlite+aiosqlite:///path, or nothing.",
        )
    return address
