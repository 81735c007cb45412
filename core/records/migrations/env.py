"""Alembic's entry: works on the connection that `core.records.migrate` hands over, or on that of the settings."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from core.private_files import use_private_umask
from core.records.migrate import migrate
from core.records.tables import metadata
from core.settings import settings


def run_migrations(connection: Connection) -> None:
    """Run what Alembic was asked for."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,  # SQLite alters a table by copying it
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


connection = context.config.attributes.get("connection")
if connection is not None:
    run_migrations(connection)
else:  # `alembic upgrade head`
    use_private_umask()
    migrate(settings().resolved_database_url, run_migrations)
