"""Durable records in SQL, one repository per kind of record."""

from __future__ import annotations

import time
from collections.abc import Callable

from core.records.database import Database
from core.records.experiment_change import ExperimentChange
from core.records.migrate import upgrade
from core.records.promise_rows import DeliveryRecord, DeliveryStatus, LimitRecord, WebhookRecord
from core.records.repositories.api_keys import ApiKeyRepository
from core.records.repositories.checkpoints import CheckpointRepository
from core.records.repositories.dataset_reports import DatasetReportRepository
from core.records.repositories.dataset_versions import DatasetVersionRepository
from core.records.repositories.datasets import DatasetRepository
from core.records.repositories.deliveries import DeliveryAttempt, DeliveryRepository
from core.records.repositories.experiments import ExperimentRepository
from core.records.repositories.files import FileRepository
from core.records.repositories.limits import LimitRepository
from core.records.repositories.stages import StageRepository
from core.records.repositories.tasks import NewTask, TaskRepository
from core.records.repositories.voices import VoiceRepository
from core.records.repositories.webhooks import WebhookRepository
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

__all__ = [
    "STEPS_DOOR",
    "ApiKeyRecord",
    "CheckpointRecord",
    "DeliveryAttempt",
    "DeliveryRecord",
    "DeliveryStatus",
    "ExperimentChange",
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
    "VoiceRecord",
    "WebhookRecord",
    "iso",
    "upgrade",
]


class Records:
    """The repositories of one database; one instance for each event loop.

    The tables must exist: the supervisor (or a test) calls `upgrade(url)` first. A transaction over several kinds of
    records belongs to one repository, as `experiments.change` does; all of them share `database`.
    """

    def __init__(self, database_url: str, *, clock: Callable[[], float] = time.time) -> None:
        self.database = Database(database_url, clock)
        self.files = FileRepository(self.database)
        self.tasks = TaskRepository(self.database)
        self.experiments = ExperimentRepository(self.database)
        self.stages = StageRepository(self.database)
        self.checkpoints = CheckpointRepository(self.database)
        self.voices = VoiceRepository(self.database)
        self.datasets = DatasetRepository(self.database)
        self.dataset_versions = DatasetVersionRepository(self.database)
        self.dataset_reports = DatasetReportRepository(self.database)
        self.api_keys = ApiKeyRepository(self.database)
        self.webhooks = WebhookRepository(self.database)
        self.deliveries = DeliveryRepository(self.database)
        self.limits = LimitRepository(self.database)

    async def close(self) -> None:
        """Close the connections to the database."""
        await self.database.close()
