"""What an experiment begins from: an uploaded recording, or a version of a data set."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from core.datasets import DatasetService
from core.datasets.options import NewRecording
from core.errors import Conflict, InvalidRequest, NotFound, TimedOut
from core.experiments.requests import ExperimentRequest, TaskRequest
from core.experiments.run_jobs import STOPPING_SECONDS
from core.jobs.events import Events
from core.records import ExperimentRecord, FileRecord, Records

ZIP: Final = "application/zip"
_UNREADY: Final = "Wait until it is ready; one that failed is made again, or left for another."


@dataclass(frozen=True, slots=True)
class ExperimentSource:
    """An uploaded recording, or a version of a data set."""

    audio_file_id: str | None = None
    dataset_id: str | None = None
    dataset_version: int | None = None
    language: str = "zh"
    """That of the data set, where there is one."""


async def find_source(
    records: Records, request: TaskRequest | ExperimentRequest, *, accept_preparing: bool = False
) -> ExperimentSource:
    """Return the source that a request names; of a data set the newest version unless one is named.

    `accept_preparing`: the version may still be in preparation.

    Raises:
        InvalidRequest: both or neither of recording and data set are named.
        NotFound: there is no such data set or version.
        Conflict: the version cannot be read yet.
    """
    if bool(request.audio_file_id) == bool(request.dataset_id):
        raise InvalidRequest(
            "An experiment begins from one thing: audio_file_id or dataset_id.",
            hint="POST /api/v1/files uploads a recording, POST /api/v1/datasets makes a data set.",
        )
    if not request.dataset_id:
        return ExperimentSource(audio_file_id=request.audio_file_id)
    dataset = await records.datasets.get(request.dataset_id)
    number = request.dataset_version or dataset.version or (dataset.latest if accept_preparing else 0)
    if number == 0:
        raise Conflict(f"data set {dataset.id} is {dataset.status}", hint=_UNREADY)
    version = await records.dataset_versions.get(dataset.id, number)
    if version.status != "ready" and not (accept_preparing and version.status == "preparing"):
        raise Conflict(f"version {number} of data set {dataset.id} is {version.status}", hint=_UNREADY)
    return ExperimentSource(dataset_id=dataset.id, dataset_version=number, language=dataset.language)


async def source_of_files(
    datasets: DatasetService,
    files: Sequence[FileRecord],
    name: str,
    *,
    language: str = "auto",
    priority: int = 5,
    experiment: ExperimentRecord | None = None,
) -> ExperimentSource:
    """Return the one recording itself; make a data set, whose job may still run, of several files or of a ZIP.

    An `experiment` that already reads a data set of the same files keeps that.
    """
    if not files:
        raise InvalidRequest("No recording is there yet.", hint="Upload one, or several, first.")
    if len(files) == 1 and files[0].media_type != ZIP:
        return ExperimentSource(audio_file_id=files[0].id)
    ids = [file.id for file in files]
    if experiment is not None and experiment.dataset_id is not None:
        version = await datasets.records.dataset_versions.get(experiment.dataset_id, experiment.dataset_version)
        same_files = [source["file_id"] for source in version.request.get("sources", ())] == ids
        if same_files and version.status != "failed":
            return ExperimentSource(dataset_id=experiment.dataset_id, dataset_version=version.version)
    dataset = await datasets.create(
        name, [NewRecording(file_id=file_id) for file_id in ids], language=language, priority=priority
    )
    return ExperimentSource(dataset_id=dataset.id, dataset_version=dataset.latest)


async def delete_dataset_of_files(datasets: DatasetService, events: Events, dataset_id: str) -> None:
    """Delete a data set that `source_of_files` made; one that something else reads meanwhile stays."""
    with contextlib.suppress(NotFound, Conflict):
        dataset = await datasets.records.datasets.get(dataset_id)
        version = await datasets.records.dataset_versions.get(dataset_id, dataset.latest)
        if version.status == "preparing":
            await datasets.queue.cancel(version.job_id)
            with contextlib.suppress(TimedOut):
                await events.wait(version.job_id, STOPPING_SECONDS)
            await datasets.get_version(dataset_id, version.version)
        await datasets.delete(dataset_id)
