"""The change table: which rows changed since they were last shipped to a backup."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "record_changes",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("table_name", sa.String(63), nullable=False),
        sa.Column("row_key", sa.Text(), nullable=False),
        sa.UniqueConstraint("table_name", "row_key", name="uq_record_changes_table_name_row_key"),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    op.drop_table("record_changes")
