"""Whose records are, which voices are shared, and what API keys may do. What exists already is shared."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

OWNED = ("files", "experiments", "tasks", "checkpoints", "voices", "datasets", "webhooks", "webhook_deliveries")
QUOTAS = ("jobs_waiting", "bytes_stored", "characters_per_day", "requests_per_minute")


def upgrade() -> None:
    for name in OWNED:
        with op.batch_alter_table(name) as table:
            table.add_column(sa.Column("owner", sa.String(200)))
            if name == "voices":
                table.add_column(sa.Column("visibility", sa.String(10), nullable=False, server_default="shared"))
            table.create_index(f"ix_{name}_owner", ["owner"])
    with op.batch_alter_table("api_keys") as table:
        table.add_column(sa.Column("owner", sa.String(200), nullable=False, server_default=""))
        table.add_column(sa.Column("scopes", sa.JSON(), nullable=False, server_default="[]"))
        table.add_column(sa.Column("expires_at", sa.Double()))
        for quota in QUOTAS:
            table.add_column(sa.Column(quota, sa.BigInteger()))
    # A key was as good as any other: each keeps what it could do, under its name as the owner.
    keys = sa.table(
        "api_keys",
        sa.column("name", sa.String),
        sa.column("admin", sa.Boolean),
        sa.column("owner", sa.String),
        sa.column("scopes", sa.JSON),
    )
    op.execute(keys.update().values(owner=keys.c.name, scopes=["speak", "train", "read"]))
    op.execute(keys.update().where(keys.c.admin.is_(True)).values(scopes=["speak", "train", "read", "admin"]))


def downgrade() -> None:
    with op.batch_alter_table("api_keys") as table:
        for name in ("owner", "scopes", "expires_at", *QUOTAS):
            table.drop_column(name)
    for name in OWNED:
        with op.batch_alter_table(name) as table:
            table.drop_index(f"ix_{name}_owner")
            table.drop_column("owner")
            if name == "voices":
                table.drop_column("visibility")
