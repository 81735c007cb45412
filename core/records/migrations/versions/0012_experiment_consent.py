"""The consent of the speaker of a training, which its voice gets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("experiments") as table:
        table.add_column(sa.Column("consent_id", sa.String(64)))


def downgrade() -> None:
    with op.batch_alter_table("experiments") as table:
        table.drop_column("consent_id")
