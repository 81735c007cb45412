"""Data sets, their versions, recordings and segments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "datasets",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("language", sa.String(length=20), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("latest", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datasets")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_datasets_status"), "datasets", ["status"], unique=False)
    _create_versions()
    _create_recordings()
    _create_segments()


def downgrade() -> None:
    for table in ("dataset_segments", "dataset_recordings", "dataset_versions", "datasets"):
        op.drop_table(table)


def _create_versions() -> None:
    op.create_table(
        "dataset_versions",
        sa.Column("dataset_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("made_by", sa.String(length=20), nullable=False),
        sa.Column("parent", sa.Integer(), nullable=True),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("error", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("skipped", sa.JSON(), nullable=False),
        sa.Column("recordings", sa.Integer(), nullable=False),
        sa.Column("segments", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("report_status", sa.String(length=20), nullable=True),
        sa.Column("report_run", sa.Integer(), nullable=False),
        sa.Column("report_options", sa.JSON(), nullable=False),
        sa.Column("report", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("report_error", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("completed_at", sa.Double(), nullable=True),
        _of_a_dataset("dataset_versions"),
        sa.PrimaryKeyConstraint("dataset_id", "version", name=op.f("pk_dataset_versions")),
        sqlite_with_rowid=False,
    )
    for column in ("status", "report_status"):
        op.create_index(op.f(f"ix_dataset_versions_{column}"), "dataset_versions", [column], unique=False)


def _create_recordings() -> None:
    op.create_table(
        "dataset_recordings",
        *_lifetime(),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("file_id", sa.String(length=64), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("sample_rate", sa.Integer(), nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False),
        _of_a_dataset("dataset_recordings"),
        sa.PrimaryKeyConstraint("dataset_id", "number", "since", name=op.f("pk_dataset_recordings")),
        sqlite_with_rowid=False,
    )


def _create_segments() -> None:
    op.create_table(
        "dataset_segments",
        *_lifetime(),
        sa.Column("recording", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("start_seconds", sa.Double(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("transcript", sa.Text(), nullable=False),
        sa.Column("language", sa.String(length=20), nullable=False),
        sa.Column("speaker", sa.Text(), nullable=False),
        sa.Column("left_out", sa.Boolean(), nullable=True),
        sa.Column("subset", sa.String(length=10), nullable=False),
        sa.Column("made_from", sa.Integer(), nullable=True),
        sa.Column("change", sa.JSON(), nullable=False),
        sa.Column("measures", sa.JSON(), nullable=False),
        _of_a_dataset("dataset_segments"),
        sa.PrimaryKeyConstraint("dataset_id", "number", "since", name=op.f("pk_dataset_segments")),
        sqlite_with_rowid=False,
    )


def _lifetime() -> list[sa.Column[object]]:
    return [
        sa.Column("dataset_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("since", sa.Integer(), nullable=False),
        sa.Column("until", sa.Integer(), nullable=True),
    ]


def _of_a_dataset(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["dataset_id"], ["datasets.id"], name=op.f(f"fk_{table}_dataset_id"), ondelete="CASCADE"
    )
