"""Durable records in SQL, one repository per kind of record."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

from core.primary_lease import PrimaryLease
from core.records.database import Database
from core.records.experiment_transaction import ExperimentTransaction
from core.records.migrate import upgrade
from core.records.models.api_keys import ApiKeyRecord
from core.records.models.checkpoints import CheckpointRecord, NewCheckpointRecord
from core.records.models.consents import ConsentRecord, ConsentRule, ConsentSource, NewConsentRecord
from core.records.models.datasets import (
    DatasetChanges,
    DatasetContents,
    DatasetLabels,
    DatasetRecord,
    DatasetReport,
    DatasetStatus,
    DatasetVersionRecord,
    DatasetVersionRequest,
    RecordingRecord,
    RecordingSource,
    SegmentFlag,
    SegmentRecord,
    SkippedFile,
    dataset_version_job_id,
)
from core.records.models.experiments import (
    STEPWISE_DIALECT,
    ExperimentChanges,
    ExperimentRecord,
    ExperimentStatus,
    StepwiseState,
)
from core.records.models.files import TEXT_MEDIA_TYPE, FileRecord, NewFileRecord
from core.records.models.limits import LimitRecord
from core.records.models.page import Page
from core.records.models.provenance import NewProvenance, ProvenanceRecord
from core.records.models.stages import PreviousRunDocument, StageRecord
from core.records.models.tasks import UNDER_WAY, TaskLabels, TaskRecord, TaskStatus
from core.records.models.times import iso
from core.records.models.voices import NewVoiceRecord, VoiceChanges, VoicePrompt, VoiceRecord
from core.records.models.webhooks import DeliveryHistoryEntry, DeliveryRecord, DeliveryStatus, WebhookRecord
from core.records.repositories.api_keys import ApiKeyRepository
from core.records.repositories.checkpoints import CheckpointRepository
from core.records.repositories.client_task_ids import ClientTaskIdRepository
from core.records.repositories.consents import ConsentRepository
from core.records.repositories.dataset_reports import DatasetReportRepository
from core.records.repositories.dataset_versions import DatasetVersionRepository
from core.records.repositories.datasets import DatasetRepository
from core.records.repositories.deliveries import DeliveryAttempt, DeliveryRepository
from core.records.repositories.experiments import ExperimentRepository
from core.records.repositories.files import FileRepository
from core.records.repositories.limits import LimitRepository
from core.records.repositories.provenance import ProvenanceRepository
from core.records.repositories.stages import StageRepository
from core.records.repositories.tasks import NewTaskRecords, TaskRepository
from core.records.repositories.voices import VoiceRepository
from core.records.repositories.webhooks import WebhookRepository
from core.settings import Settings

__all__ = [
    "STEPWISE_DIALECT",
    "TEXT_MEDIA_TYPE",
    "UNDER_WAY",
    "ApiKeyRecord",
    "CheckpointRecord",
    "ConsentRecord",
    "ConsentRule",
    "ConsentSource",
    "DatasetChanges",
    "DatasetContents",
    "DatasetLabels",
    "DatasetRecord",
    "DatasetReport",
    "DatasetStatus",
    "DatasetVersionRecord",
    "DatasetVersionRequest",
    "DeliveryAttempt",
    "DeliveryHistoryEntry",
    "DeliveryRecord",
    "DeliveryStatus",
    "ExperimentChanges",
    "ExperimentRecord",
    "ExperimentStatus",
    "ExperimentTransaction",
    "FileRecord",
    "LimitRecord",
    "NewCheckpointRecord",
    "NewConsentRecord",
    "NewFileRecord",
    "NewProvenance",
    "NewTaskRecords",
    "NewVoiceRecord",
    "Page",
    "PreviousRunDocument",
    "ProvenanceRecord",
    "RecordingRecord",
    "RecordingSource",
    "Records",
    "SegmentFlag",
    "SegmentRecord",
    "SkippedFile",
    "StageRecord",
    "StepwiseState",
    "TaskLabels",
    "TaskRecord",
    "TaskStatus",
    "VoiceChanges",
    "VoicePrompt",
    "VoiceRecord",
    "WebhookRecord",
    "dataset_version_job_id",
    "iso",
    "upgrade",
]

NO_CONSENT_RULE = ConsentRule()


class Records:
    """The repositories of one database; one instance for each event loop.

    The tables must exist: the supervisor (or a test) calls `upgrade(url)` first. A transaction over several kinds of
    records belongs to one repository, as `experiments.transaction` does; all of them share `database`.
    """

    def __init__(
        self,
        database_url: str,
        *,
        clock: Callable[[], float] = time.time,
        consent_rule: ConsentRule = NO_CONSENT_RULE,
        lease: PrimaryLease | None = None,
    ) -> None:
        """`lease` is asked before each write where sites are fenced."""
        self.database = Database(database_url, clock, check_write=None if lease is None else lease.check)
        self.files = FileRepository(self.database)
        self.tasks = TaskRepository(self.database)
        self.experiments = ExperimentRepository(self.database)
        self.stages = StageRepository(self.database)
        self.checkpoints = CheckpointRepository(self.database)
        self.consents = ConsentRepository(self.database, consent_rule)
        self.voices = VoiceRepository(self.database, self.consents)
        self.provenance = ProvenanceRepository(self.database)
        self.datasets = DatasetRepository(self.database)
        self.dataset_versions = DatasetVersionRepository(self.database)
        self.dataset_reports = DatasetReportRepository(self.database)
        self.api_keys = ApiKeyRepository(self.database)
        self.webhooks = WebhookRepository(self.database)
        self.deliveries = DeliveryRepository(self.database)
        self.limits = LimitRepository(self.database)
        self.client_task_ids = ClientTaskIdRepository(self.database)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the records that the settings name, under their rules."""
        rule = ConsentRule(settings.require_consent, settings.consent_statement.strip())
        return cls(settings.resolved_database_url, consent_rule=rule, lease=PrimaryLease.of(settings))

    async def close(self) -> None:
        """Close the connections to the database."""
        await self.database.close()
