"""What an experiment takes from a version of a data set: the training part, without what is left out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from core.datasets.verdict import is_trained_on
from core.errors import Conflict, NotReady
from core.records import DatasetStatus, Records, SegmentRecord


@dataclass(frozen=True, slots=True)
class Chosen:
    """Segments to train on."""

    dataset_id: str
    version: int
    language: str
    """Of the data set; `auto` when that differs."""
    segments: list[SegmentRecord]
    left_out: list[SegmentRecord]

    @property
    def fingerprint(self) -> str:
        """Of everything a training learns from; the same again as long as nobody decides otherwise."""
        rows = ("\t".join((one.sha256, one.transcript, one.language, one.speaker)) for one in self.segments)
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()


async def choose_segments(records: Records, dataset_id: str, version: int | None) -> Chosen:
    """NotReady while the version is being made; Conflict when it failed or nothing is left of it; NotFound: no such."""
    dataset = await records.datasets.get(dataset_id)
    found = await records.dataset_versions.get(dataset_id, version)
    if found.status is DatasetStatus.PREPARING:  # Redis forgot that the one waits for the other: tried again soon
        raise NotReady(f"Version {found.version} of the data set {dataset_id} is still being made.")
    if found.status is not DatasetStatus.READY:
        raise Conflict(
            f"Version {found.version} of the data set {dataset_id} is {found.status}: {found.message}",
            hint="Begin from a version that is ready.",
        )
    contents = await records.dataset_versions.contents(dataset_id, found.version)
    chosen = [one for one in contents.segments if is_trained_on(one, found.report)]
    if not chosen:
        raise Conflict(
            f"Nothing of version {found.version} of the data set {dataset_id} is left to train on.",
            hint=f"GET /api/v1/datasets/{dataset_id}/report says why; take segments back with left_out false.",
        )
    kept = {one.number for one in chosen}
    left_out = [one for one in contents.segments if one.number not in kept]
    return Chosen(dataset_id, found.version, dataset.language, chosen, left_out)
