"""Indexes for the lists of voices and checkpoints, whose ids say nothing about their age."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TABLES = ("checkpoints", "voices")


def upgrade() -> None:
    for table in TABLES:
        op.create_index(f"ix_{table}_created_at_id", table, ["created_at", "id"])


def downgrade() -> None:
    for table in TABLES:
        op.drop_index(f"ix_{table}_created_at_id", table)
