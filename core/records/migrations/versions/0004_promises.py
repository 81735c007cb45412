"""Webhooks and their deliveries, limits, and stages with a device and a time to begin."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_webhooks()
    op.create_table(
        "limits",
        sa.Column("device", sa.String(20), nullable=False),
        sa.Column("training", sa.Integer()),
        sa.Column("inference", sa.Integer()),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("device", name=op.f("pk_limits")),
    )
    for name in ("experiments", "stages"):
        with op.batch_alter_table(name) as table:
            table.add_column(sa.Column("device", sa.String(20), nullable=False, server_default=""))
    with op.batch_alter_table("stages") as table:
        table.add_column(sa.Column("schedule_at", sa.Double()))


def _create_webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("webhook_id", sa.String(64)),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("event", sa.String(40), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("history", sa.JSON(), nullable=False),
        sa.Column("status_code", sa.Integer()),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("retries", sa.Integer(), nullable=False),
        sa.Column("next_try_at", sa.Double()),
        sa.Column("claimed_by", sa.String(80), nullable=False),
        sa.Column("claimed_until", sa.Double(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
        sqlite_with_rowid=False,
    )
    for columns in (["webhook_id"], ["subject"], ["status", "next_try_at"]):
        name = op.f(f"ix_webhook_deliveries_{'_'.join(columns)}")
        op.create_index(name, "webhook_deliveries", columns)


def downgrade() -> None:
    with op.batch_alter_table("stages") as table:
        table.drop_column("schedule_at")
    for name in ("stages", "experiments"):
        with op.batch_alter_table(name) as table:
            table.drop_column("device")
    for name in ("limits", "webhook_deliveries", "webhooks"):
        op.drop_table(name)
