"""The change table: triggers note every row that changes, in the transaction that changes it.

A row of `record_changes` says which row of which table changed last; what is shipped to a backup is then deleted there,
so it never grows beyond the number of records. The triggers are made anew at every start, since SQLite loses those of a
table that a migration copies.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, inspect, text

CHANGE_TABLE: Final = "record_changes"
_VERSION_TABLE: Final = "alembic_version"
_EVENTS: Final = ("INSERT", "UPDATE", "DELETE")


def install_triggers(connection: Connection) -> None:
    """Have every table but the change table note its changes; harmless when repeated."""
    inspector = inspect(connection)
    tables = [name for name in inspector.get_table_names() if name not in (CHANGE_TABLE, _VERSION_TABLE)]
    if connection.dialect.name != "sqlite":
        connection.execute(text(_POSTGRES_FUNCTION))
    for table in sorted(tables):
        columns = inspector.get_pk_constraint(table)["constrained_columns"]
        install = _install_sqlite if connection.dialect.name == "sqlite" else _install_postgres
        install(connection, table, columns)


def _install_sqlite(connection: Connection, table: str, columns: list[str]) -> None:
    for event in _EVENTS:
        rows = ("OLD",) if event == "DELETE" else ("NEW",) if event == "INSERT" else ("NEW", "OLD")
        keys = [f"json_array({', '.join(f'{row}.{column}' for column in columns)})" for row in rows]
        # No REPLACE: inside a trigger it would follow the conflict rule of the statement that fired it.
        notes = " ".join(
            f"DELETE FROM {CHANGE_TABLE} WHERE table_name = '{table}' AND row_key = {key}; "  # noqa: S608
            f"INSERT INTO {CHANGE_TABLE} (table_name, row_key) VALUES ('{table}', {key});"
            for key in keys
        )
        connection.exec_driver_sql(
            f"CREATE TRIGGER IF NOT EXISTS note_{table}_{event.lower()} AFTER {event} ON {table} BEGIN {notes} END"
        )


_POSTGRES_FUNCTION: Final = f"""
CREATE OR REPLACE FUNCTION note_record_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changed jsonb;
    keys jsonb;
BEGIN
    FOREACH changed IN ARRAY CASE TG_OP
        WHEN 'INSERT' THEN ARRAY[to_jsonb(NEW)]
        WHEN 'DELETE' THEN ARRAY[to_jsonb(OLD)]
        ELSE ARRAY[to_jsonb(NEW), to_jsonb(OLD)] END
    LOOP
        SELECT jsonb_agg(changed -> TG_ARGV[position] ORDER BY position) INTO keys
            FROM generate_series(0, TG_NARGS - 1) AS position;
        INSERT INTO {CHANGE_TABLE} (table_name, row_key) VALUES (TG_TABLE_NAME, keys::text)
            ON CONFLICT (table_name, row_key) DO UPDATE SET number = nextval('{CHANGE_TABLE}_number_seq');
    END LOOP;
    RETURN NULL;
END $$
"""  # noqa: S608


def _install_postgres(connection: Connection, table: str, columns: list[str]) -> None:
    arguments = ", ".join(f"'{column}'" for column in columns)
    connection.exec_driver_sql(
        f"CREATE OR REPLACE TRIGGER note_{table} AFTER INSERT OR UPDATE OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION note_record_change({arguments})"
    )
