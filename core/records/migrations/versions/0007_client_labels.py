"""What foreign clients call their tasks, and what they asked for last, kept beside our own fields."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("experiments") as table:
        table.add_column(sa.Column("stepwise", sa.JSON(), nullable=False, server_default="{}"))
    with op.batch_alter_table("tasks") as table:
        table.add_column(sa.Column("labels", sa.JSON(), nullable=False, server_default="{}"))
    op.create_table(
        "client_task_ids",
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("task_id", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "name", name="pk_client_task_ids"),
    )
    op.create_index("ix_client_task_ids_task_id", "client_task_ids", ["task_id"])


def downgrade() -> None:
    op.drop_table("client_task_ids")
    with op.batch_alter_table("tasks") as table:
        table.drop_column("labels")
    with op.batch_alter_table("experiments") as table:
        table.drop_column("stepwise")
