"""The segments of a version that an experiment trains on: the training subset without what is left out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from core.datasets.flags import is_trained_on
from core.errors import Conflict, NotReady
from core.records import DatasetStatus, Records, SegmentRecord


@dataclass(frozen=True, slots=True)
class TrainingSelection:
    """Segments to train on."""

    dataset_id: str
    version: int
    language: str
    """Of the data set; `auto` when that differs."""
    segments: list[SegmentRecord]
    left_out: list[SegmentRecord]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything that the training reads of its segments."""
        rows = (
            "\t".join((segment.sha256, segment.transcript, segment.language, segment.speaker))
            for segment in self.segments
        )
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()


async def select_training_segments(records: Records, dataset_id: str, version: int | None) -> TrainingSelection:
    """Return the training segments of a version (None: the newest that is ready).

    Raises: NotFound for an unknown version, NotReady while it is being made, Conflict when it failed or when no segment
    is left to train on.
    """
    dataset = await records.datasets.get(dataset_id)
    record = await records.dataset_versions.get(dataset_id, version)
    if record.status is DatasetStatus.PREPARING:  # Redis lost the dependency between the two jobs: retried soon
        raise NotReady(f"Version {record.version} of the data set {dataset_id} is still being made.")
    if record.status is not DatasetStatus.READY:
        raise Conflict(
            f"Version {record.version} of the data set {dataset_id} is {record.status}: {record.message}",
            hint="Begin from a version that is ready.",
        )
    contents = await records.dataset_versions.contents(dataset_id, record.version)
    selected = [segment for segment in contents.segments if is_trained_on(segment, record.report)]
    if not selected:
        raise Conflict(
            f"Nothing of version {record.version} of the data set {dataset_id} is left to train on.",
            hint=f"GET /api/v1/datasets/{dataset_id}/report says why; take segments back with left_out false.",
        )
    numbers = {segment.number for segment in selected}
    left_out = [segment for segment in contents.segments if segment.number not in numbers]
    return TrainingSelection(dataset_id, record.version, dataset.language, selected, left_out)
