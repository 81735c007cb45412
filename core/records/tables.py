"""The tables. A change here needs a revision in `migrations/versions`; a test compares the two."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from core.records.enum_string import EnumString
from core.records.models.consents import ConsentSource
from core.records.models.datasets import DatasetStatus
from core.records.models.experiments import ExperimentStatus
from core.records.models.tasks import TaskStatus
from core.records.models.webhooks import DeliveryStatus
from core.stages.status import StageStatus

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id(name: str = "id", *references: ForeignKey, **options: Any) -> Column[str]:
    return Column(name, String(64), *references, **options)


files = Table(
    "files",
    metadata,
    _id(primary_key=True),
    Column("filename", Text, nullable=False),
    Column("purpose", String(40), nullable=False, index=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("media_type", Text, nullable=False),
    Column("duration_seconds", Double),
    Column("sample_rate", Integer),
    Column("channels", Integer),
    Column("storage_key", Text, nullable=False),
    Column("uploaded_at", Double, nullable=False),
    Column("owner", String(200), index=True),
    sqlite_with_rowid=False,
)

experiments = Table(
    "experiments",
    metadata,
    _id(primary_key=True),
    Column("exp_name", Text, nullable=False),
    Column("version", String(20), nullable=False),
    Column("language", String(20), nullable=False),
    Column("gpu_numbers", String(100), nullable=False),
    Column("is_half", Boolean, nullable=False),
    _id("audio_file_id", ForeignKey("files.id", ondelete="SET NULL"), index=True),
    _id("task_id"),
    Column("priority", Integer, nullable=False),
    Column("parameters", JSON, nullable=False),
    Column("status", EnumString(ExperimentStatus), nullable=False),
    _id("voice_id"),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    _id("dataset_id"),
    Column("dataset_version", Integer),
    Column("planned", JSON, nullable=False, server_default="{}"),
    Column("device", String(20), nullable=False, server_default=""),
    Column("door", String(20), key="dialect", nullable=False, server_default=""),
    Column("owner", String(200), index=True),
    Column("stepwise", JSON, nullable=False, server_default="{}"),
    Column("version_named", Boolean, nullable=False, server_default="1"),
    _id("consent_id"),
    Index(None, "status", "id"),
    Index(None, "dialect", "id"),
    sqlite_with_rowid=False,
)

tasks = Table(
    "tasks",
    metadata,
    _id(primary_key=True),
    _id("exp_id", ForeignKey("experiments.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("exp_name", Text, nullable=False),
    _id("audio_file_id", ForeignKey("files.id", ondelete="SET NULL"), index=True),
    Column("version", String(20), nullable=False),
    Column("language", String(20), nullable=False),
    Column("quality", String(20), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("status", EnumString(TaskStatus), nullable=False),
    Column("current_stage", String(40), nullable=False),
    Column("progress", Double, nullable=False),
    Column("overall_progress", Double, nullable=False),
    Column("message", Text, nullable=False),
    Column("error", JSON(none_as_null=True)),
    Column("webhook_url", Text, nullable=False),
    Column("schedule_at", Double),
    Column("idempotency_key", String(255), unique=True),
    _id("voice_id"),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("completed_at", Double),
    Column("upload_url", Text, nullable=False, server_default=""),
    Column("owner", String(200), index=True),
    Column("labels", JSON, nullable=False, server_default="{}"),
    Index(None, "status", "id"),
    sqlite_with_rowid=False,
)

stages = Table(
    "stages",
    metadata,
    _id("exp_id", ForeignKey("experiments.id", ondelete="CASCADE"), primary_key=True),
    Column("stage", String(40), primary_key=True),
    Column("status", EnumString(StageStatus), nullable=False),
    Column("run", Integer, nullable=False),
    Column("work_run", Integer, nullable=False),
    Column("progress", Double, nullable=False),
    Column("message", Text, nullable=False),
    Column("config", JSON, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("outputs", JSON, nullable=False),
    Column("previews", JSON, nullable=False, server_default="[]"),
    Column("error", JSON(none_as_null=True)),
    Column("control", String(40), nullable=False),
    Column("previous_run", JSON(none_as_null=True)),
    Column("basis", JSON, nullable=False, server_default="{}"),
    Column("changed", JSON, nullable=False, server_default="{}"),
    Column("queued_at", Double),
    Column("device", String(20), nullable=False, server_default=""),
    Column("schedule_at", Double),
    Column("started_at", Double),
    Column("completed_at", Double),
    Index(None, "status", "exp_id"),
    sqlite_with_rowid=False,
)

checkpoints = Table(
    "checkpoints",
    metadata,
    _id(primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("version", String(20), nullable=False),
    Column("name", Text, nullable=False),
    _id("exp_id", index=True),
    Column("epoch", Integer),
    Column("step", Integer),
    Column("metrics", JSON, nullable=False),
    Column("lineage", JSON, nullable=False, server_default="{}"),
    Column("sha256", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("storage_key", Text, nullable=False),
    Column("promoted", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("owner", String(200), index=True),
    Index(None, "created_at", "id"),
)

voices = Table(
    "voices",
    metadata,
    _id(primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("version", String(20), nullable=False),
    Column("language", String(20), nullable=False),
    _id("gpt_checkpoint_id", ForeignKey("checkpoints.id"), nullable=False, index=True),
    _id("sovits_checkpoint_id", ForeignKey("checkpoints.id"), nullable=False, index=True),
    Column("prompts", JSON, nullable=False),
    Column("pronunciations", JSON, nullable=False, server_default="{}"),
    _id("exp_id"),
    Column("created_at", Double, nullable=False),
    Column("owner", String(200), index=True),
    Column("visibility", String(10), nullable=False, server_default="shared"),
    _id("consent_id"),
    Column("loudness", Double),
    Index(None, "created_at", "id"),
)

consents = Table(
    "consents",
    metadata,
    _id(primary_key=True),
    Column("name", Text, nullable=False),
    Column("speaker", Text, nullable=False),
    Column("statement", Text, nullable=False),
    Column("source", EnumString(ConsentSource), nullable=False),
    Column("uses", JSON, nullable=False),
    Column("language", String(20), nullable=False),
    Column("given_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("withdrawn_at", Double),
    Column("recording_key", Text, nullable=False),
    Column("recording_sha256", String(64), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("owner", String(200), index=True),
)

provenance = Table(
    "provenance",
    metadata,
    _id(primary_key=True),
    Column("request_id", String(100), nullable=False, index=True),
    Column("mark_id", Integer, index=True),
    Column("time", Double, nullable=False, index=True),
    Column("seconds", Double, nullable=False),
    _id("voice_id", nullable=False),
    Column("voice_name", Text, nullable=False),
    Column("gpt_sha256", String(64), nullable=False),
    Column("sovits_sha256", String(64), nullable=False),
    _id("key_id", nullable=False),
    Column("text_sha256", String(64), nullable=False),
    Column("text", Text, nullable=False),
    Column("owner", String(200), index=True),
)

api_keys = Table(
    "api_keys",
    metadata,
    _id(primary_key=True),
    Column("name", String(200), nullable=False, index=True),
    Column("key_hash", String(64), nullable=False, unique=True),
    Column("shown", String(40), nullable=False),
    Column("admin", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("last_used_at", Double),
    Column("revoked_at", Double),
    Column("owner", String(200), nullable=False, server_default=""),
    Column("scopes", JSON, nullable=False, server_default="[]"),
    Column("expires_at", Double),
    Column("jobs_waiting", BigInteger),
    Column("bytes_stored", BigInteger),
    Column("characters_per_day", BigInteger),
    Column("requests_per_minute", BigInteger),
)

datasets = Table(
    "datasets",
    metadata,
    _id(primary_key=True),
    Column("name", Text, nullable=False),
    Column("language", String(20), nullable=False),
    Column("status", EnumString(DatasetStatus), nullable=False, index=True),
    Column("version", Integer, nullable=False),
    Column("latest", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("owner", String(200), index=True),
    sqlite_with_rowid=False,
)

dataset_versions = Table(
    "dataset_versions",
    metadata,
    _id("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("status", EnumString(DatasetStatus), nullable=False, index=True),
    Column("made_by", String(20), nullable=False),
    Column("parent", Integer),
    Column("request", JSON, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("message", Text, nullable=False),
    Column("error", JSON(none_as_null=True)),
    Column("skipped", JSON, nullable=False),
    Column("recordings", Integer, nullable=False),
    Column("segments", Integer, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("report_status", EnumString(DatasetStatus), index=True),
    Column("report_run", Integer, nullable=False),
    Column("report_options", JSON, nullable=False),
    Column("report", JSON(none_as_null=True)),
    Column("report_error", JSON(none_as_null=True)),
    Column("created_at", Double, nullable=False),
    Column("completed_at", Double),
    sqlite_with_rowid=False,
)

dataset_recordings = Table(
    "dataset_recordings",
    metadata,
    _id("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("since", Integer, primary_key=True),
    Column("until", Integer),
    Column("name", Text, nullable=False),
    _id("file_id"),
    Column("sha256", String(64), nullable=False),
    Column("seconds", Double, nullable=False),
    Column("sample_rate", Integer, nullable=False),
    Column("storage_key", Text, nullable=False),
    sqlite_with_rowid=False,
)

dataset_segments = Table(
    "dataset_segments",
    metadata,
    _id("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("since", Integer, primary_key=True),
    Column("until", Integer),
    Column("recording", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("start_seconds", Double, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("storage_key", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("transcript", Text, nullable=False),
    Column("language", String(20), nullable=False),
    Column("speaker", Text, nullable=False),
    Column("left_out", Boolean),
    Column("subset", String(10), nullable=False),
    Column("made_from", Integer),
    Column("change", JSON, nullable=False),
    Column("measures", JSON, nullable=False),
    sqlite_with_rowid=False,
)

webhooks = Table(
    "webhooks",
    metadata,
    _id(primary_key=True),
    Column("url", Text, nullable=False),
    Column("events", JSON, nullable=False),
    Column("description", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("message", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("owner", String(200), index=True),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    _id(primary_key=True),
    _id("webhook_id", index=True),
    _id("subject", nullable=False, index=True),
    Column("event", String(40), nullable=False),
    Column("url", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("status", EnumString(DeliveryStatus), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("history", JSON, nullable=False),
    Column("status_code", Integer),
    Column("error", Text, nullable=False),
    Column("retries", Integer, nullable=False),
    Column("next_try_at", Double),
    Column("claimed_by", String(80), nullable=False),
    Column("claimed_until", Double, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("owner", String(200), index=True),
    Index(None, "status", "next_try_at"),
    sqlite_with_rowid=False,
)

limits = Table(
    "limits",
    metadata,
    Column("device", String(20), primary_key=True),
    Column("training", Integer),
    Column("inference", Integer),
    Column("updated_at", Double, nullable=False),
)

client_task_ids = Table(
    "client_task_ids",
    metadata,
    Column("owner", String(200), primary_key=True),
    Column("name", String(200), primary_key=True),
    _id("task_id", nullable=False, index=True),
    Column("created_at", Double, nullable=False),
)

record_changes = Table(
    "record_changes",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("table_name", String(63), nullable=False),
    Column("row_key", Text, nullable=False),
    UniqueConstraint("table_name", "row_key"),
    sqlite_autoincrement=True,  # a number that was deleted does not come again
)
