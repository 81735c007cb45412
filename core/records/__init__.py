"""Durable records in SQL: files, tasks, experiments, stages, checkpoints, voices and API keys."""

from __future__ import annotations

import time
from collections.abc import Callable

from core.records.catalog import CatalogueRecords
from core.records.change import Change
from core.records.database import Database
from core.records.datasets import DatasetRecords
from core.records.experiments import ExperimentRecords
from core.records.files import FileRecords
from core.records.keys import KeyRecords
from core.records.limits import LimitRecords
from core.records.listing import ListingRecords
from core.records.migrate import upgrade
from core.records.promise_rows import DeliveryRecord, DeliveryStatus, LimitRecord, WebhookRecord
from core.records.retention import RetentionRecords
from core.records.rows import (
    STEPS_DOOR,
    ApiKeyRecord,
    CheckpointRecord,
    ExperimentRecord,
    ExperimentStatus,
    FileRecord,
    Page,
    StageRecord,
    TaskRecord,
    TaskStatus,
    VoiceRecord,
    iso,
)
from core.records.tasks import NewTask, TaskRecords
from core.records.voices import VoiceRecords
from core.records.webhooks import Try, WebhookRecords

__all__ = [
    "STEPS_DOOR",
    "ApiKeyRecord",
    "Change",
    "CheckpointRecord",
    "DeliveryRecord",
    "DeliveryStatus",
    "ExperimentRecord",
    "ExperimentStatus",
    "FileRecord",
    "LimitRecord",
    "NewTask",
    "Page",
    "Records",
    "StageRecord",
    "TaskRecord",
    "TaskStatus",
    "Try",
    "VoiceRecord",
    "WebhookRecord",
    "iso",
    "upgrade",
]


class Records(
    TaskRecords,
    ExperimentRecords,
    RetentionRecords,
    FileRecords,
    VoiceRecords,
    CatalogueRecords,
    KeyRecords,
    DatasetRecords,
    WebhookRecords,
    LimitRecords,
    ListingRecords,
):
    """Every durable record; one instance for each event loop, closed by `close`.

    The tables must be there: the supervisor (or a test) runs `upgrade(url)` first.
    """

    def __init__(self, database_url: str, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(Database(database_url), clock)

    async def close(self) -> None:
        await self._database.close()
