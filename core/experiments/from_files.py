"""What an experiment begins from when its client brings files: the one recording, or a data set of all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final

from core.datasets import DatasetService
from core.datasets.options import NewRecording
from core.errors import Conflict, InvalidRequest, NotFound, TimedOut
from core.experiments.new import Source
from core.experiments.requests import STOPPING_SECONDS
from core.jobs.events import AsyncEvents
from core.records import ExperimentRecord, FileRecord

ZIP: Final = "application/zip"


async def source_of(
    datasets: DatasetService,
    files: Sequence[FileRecord],
    name: str,
    *,
    language: str = "auto",
    priority: int = 5,
    before: ExperimentRecord | None = None,
) -> Source:
    """One recording is taken as it is. Several, or a ZIP, become a data set, whose job need not have ended.

    `before`: an experiment that was given files already; the same ones are not taken in twice.
    """
    if not files:
        raise InvalidRequest("No recording is there yet.", hint="Upload one, or several, first.")
    if len(files) == 1 and files[0].media_type != ZIP:
        return Source(audio_file_id=files[0].id)
    ids = [file.id for file in files]
    if before is not None and before.dataset_id is not None:
        made = await datasets.records.get_dataset_version(before.dataset_id, before.dataset_version)
        if [one["file_id"] for one in made.request.get("sources", ())] == ids and made.status != "failed":
            return Source(dataset_id=before.dataset_id, dataset_version=made.version)
    sources = [NewRecording(file_id=id_) for id_ in ids]
    new = await datasets.create(name, sources, language=language, priority=priority)
    return Source(dataset_id=new.id, dataset_version=new.latest)


async def discard(datasets: DatasetService, events: AsyncEvents, dataset_id: str) -> None:
    """Delete a data set that was made for an experiment; one that something else reads by now stays."""
    with contextlib.suppress(NotFound, Conflict):
        newest = await datasets.records.get_dataset(dataset_id)
        version = await datasets.records.get_dataset_version(dataset_id, newest.latest)
        if version.status == "preparing":
            await datasets.queue.cancel(version.job_id)
            with contextlib.suppress(TimedOut):
                await events.wait(version.job_id, STOPPING_SECONDS)
            await datasets.look(dataset_id, version.version)
        await datasets.delete(dataset_id)
