"""Consents of speakers, which voices refer to, and records of where audio came from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "consents",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("speaker", sa.Text(), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("source", sa.String(20), nullable=False),
        sa.Column("uses", sa.JSON(), nullable=False),
        sa.Column("language", sa.String(20), nullable=False),
        sa.Column("given_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double()),
        sa.Column("withdrawn_at", sa.Double()),
        sa.Column("recording_key", sa.Text(), nullable=False),
        sa.Column("recording_sha256", sa.String(64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("owner", sa.String(200)),
        sa.PrimaryKeyConstraint("id", name="pk_consents"),
    )
    op.create_index("ix_consents_owner", "consents", ["owner"])
    op.create_table(
        "provenance",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(100), nullable=False),
        sa.Column("mark_id", sa.Integer()),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("voice_id", sa.String(64), nullable=False),
        sa.Column("voice_name", sa.Text(), nullable=False),
        sa.Column("gpt_sha256", sa.String(64), nullable=False),
        sa.Column("sovits_sha256", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("text_sha256", sa.String(64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("owner", sa.String(200)),
        sa.PrimaryKeyConstraint("id", name="pk_provenance"),
    )
    for column in ("mark_id", "owner", "request_id", "time"):
        op.create_index(f"ix_provenance_{column}", "provenance", [column])
    with op.batch_alter_table("voices") as table:
        table.add_column(sa.Column("consent_id", sa.String(64)))


def downgrade() -> None:
    with op.batch_alter_table("voices") as table:
        table.drop_column("consent_id")
    op.drop_table("provenance")
    op.drop_table("consents")
