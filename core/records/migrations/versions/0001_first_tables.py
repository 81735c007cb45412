"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("shown", sa.String(length=40), nullable=False),
        sa.Column("admin", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("last_used_at", sa.Double(), nullable=True),
        sa.Column("revoked_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_keys_key_hash")),
    )
    op.create_index(op.f("ix_api_keys_name"), "api_keys", ["name"], unique=False)
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("version", sa.String(length=20), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("exp_id", sa.String(length=64), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=True),
        sa.Column("step", sa.Integer(), nullable=True),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column("promoted", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoints")),
    )
    op.create_index(op.f("ix_checkpoints_exp_id"), "checkpoints", ["exp_id"], unique=False)
    op.create_table(
        "files",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("purpose", sa.String(length=40), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("duration_seconds", sa.Double(), nullable=True),
        sa.Column("sample_rate", sa.Integer(), nullable=True),
        sa.Column("channels", sa.Integer(), nullable=True),
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column("uploaded_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_files")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_files_purpose"), "files", ["purpose"], unique=False)
    op.create_table(
        "experiments",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("exp_name", sa.Text(), nullable=False),
        sa.Column("version", sa.String(length=20), nullable=False),
        sa.Column("language", sa.String(length=20), nullable=False),
        sa.Column("gpu_numbers", sa.String(length=100), nullable=False),
        sa.Column("is_half", sa.Boolean(), nullable=False),
        sa.Column("audio_file_id", sa.String(length=64), nullable=True),
        sa.Column("task_id", sa.String(length=64), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("voice_id", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["audio_file_id"], ["files.id"], name=op.f("fk_experiments_audio_file_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiments")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_experiments_audio_file_id"), "experiments", ["audio_file_id"], unique=False)
    op.create_index(op.f("ix_experiments_status_id"), "experiments", ["status", "id"], unique=False)
    op.create_table(
        "voices",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("version", sa.String(length=20), nullable=False),
        sa.Column("language", sa.String(length=20), nullable=False),
        sa.Column("gpt_checkpoint_id", sa.String(length=64), nullable=False),
        sa.Column("sovits_checkpoint_id", sa.String(length=64), nullable=False),
        sa.Column("prompts", sa.JSON(), nullable=False),
        sa.Column("exp_id", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["gpt_checkpoint_id"], ["checkpoints.id"], name=op.f("fk_voices_gpt_checkpoint_id")),
        sa.ForeignKeyConstraint(
            ["sovits_checkpoint_id"], ["checkpoints.id"], name=op.f("fk_voices_sovits_checkpoint_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_voices")),
        sa.UniqueConstraint("name", name=op.f("uq_voices_name")),
    )
    op.create_index(op.f("ix_voices_gpt_checkpoint_id"), "voices", ["gpt_checkpoint_id"], unique=False)
    op.create_index(op.f("ix_voices_sovits_checkpoint_id"), "voices", ["sovits_checkpoint_id"], unique=False)
    op.create_table(
        "stages",
        sa.Column("exp_id", sa.String(length=64), nullable=False),
        sa.Column("stage", sa.String(length=40), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("work_run", sa.Integer(), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("outputs", sa.JSON(), nullable=False),
        sa.Column("error", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("control", sa.String(length=40), nullable=False),
        sa.Column("previous_run", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("completed_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["exp_id"], ["experiments.id"], name=op.f("fk_stages_exp_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("exp_id", "stage", name=op.f("pk_stages")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_stages_status_exp_id"), "stages", ["status", "exp_id"], unique=False)
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("exp_id", sa.String(length=64), nullable=False),
        sa.Column("exp_name", sa.Text(), nullable=False),
        sa.Column("audio_file_id", sa.String(length=64), nullable=True),
        sa.Column("version", sa.String(length=20), nullable=False),
        sa.Column("language", sa.String(length=20), nullable=False),
        sa.Column("quality", sa.String(length=20), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("current_stage", sa.String(length=40), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("overall_progress", sa.Double(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("error", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("webhook_url", sa.Text(), nullable=False),
        sa.Column("schedule_at", sa.Double(), nullable=True),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("voice_id", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("completed_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["audio_file_id"], ["files.id"], name=op.f("fk_tasks_audio_file_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["exp_id"], ["experiments.id"], name=op.f("fk_tasks_exp_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_tasks_idempotency_key")),
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_tasks_audio_file_id"), "tasks", ["audio_file_id"], unique=False)
    op.create_index(op.f("ix_tasks_exp_id"), "tasks", ["exp_id"], unique=False)
    op.create_index(op.f("ix_tasks_status_id"), "tasks", ["status", "id"], unique=False)


def downgrade() -> None:
    op.drop_table("tasks")
    op.drop_table("stages")
    op.drop_table("voices")
    op.drop_table("experiments")
    op.drop_table("files")
    op.drop_table("checkpoints")
    op.drop_table("api_keys")
