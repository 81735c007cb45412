"""What expert mode writes down of stages, runs and logs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("experiments") as table:
        table.add_column(sa.Column("dataset_id", sa.String(64)))
        table.add_column(sa.Column("dataset_version", sa.Integer()))
        table.add_column(sa.Column("planned", sa.JSON(), nullable=False, server_default="{}"))
        table.add_column(sa.Column("door", sa.String(20), nullable=False, server_default=""))
        table.create_index("ix_experiments_door_id", ["door", "id"])
    with op.batch_alter_table("tasks") as table:
        table.add_column(sa.Column("upload_url", sa.Text(), nullable=False, server_default=""))
    with op.batch_alter_table("stages") as table:
        table.add_column(sa.Column("basis", sa.JSON(), nullable=False, server_default="{}"))
        table.add_column(sa.Column("changed", sa.JSON(), nullable=False, server_default="{}"))
        table.add_column(sa.Column("queued_at", sa.Double()))
    with op.batch_alter_table("checkpoints") as table:
        table.add_column(sa.Column("lineage", sa.JSON(), nullable=False, server_default="{}"))


def downgrade() -> None:
    with op.batch_alter_table("checkpoints") as table:
        table.drop_column("lineage")
    with op.batch_alter_table("stages") as table:
        for name in ("queued_at", "changed", "basis"):
            table.drop_column(name)
    with op.batch_alter_table("tasks") as table:
        table.drop_column("upload_url")
    with op.batch_alter_table("experiments") as table:
        table.drop_index("ix_experiments_door_id")
        for name in ("door", "planned", "dataset_version", "dataset_id"):
            table.drop_column(name)
