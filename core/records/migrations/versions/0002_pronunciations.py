"""Voices with a dictionary of their own pronunciations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("voices") as table:
        table.add_column(sa.Column("pronunciations", sa.JSON(), nullable=False, server_default="{}"))


def downgrade() -> None:
    with op.batch_alter_table("voices") as table:
        table.drop_column("pronunciations")
