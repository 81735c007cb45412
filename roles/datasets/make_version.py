"""The job that makes a version of a data set: import uploads, then split, augment or crop the contents."""

from __future__ import annotations

import logging

from core.datasets.edit import inherit_report
from core.datasets.jobs import DatasetVersionPayload, DatasetVersionResult
from core.datasets.options import AugmentOptions, CropOptions, NewRecording, SplitOptions
from core.datasets.report import skipped_files_message
from core.datasets.split import split_contents
from core.errors import JobCancelled, NotFound, PermanentError
from core.records import DatasetContents, DatasetStatus, DatasetVersionRecord
from GPT_SoVITS.errors import ModelError
from roles.datasets.audio_store import AudioStore
from roles.datasets.augment import augment_contents
from roles.datasets.crop import crop_contents
from roles.datasets.import_files import RecordingImporter
from roles.runtime.errors import error_document
from roles.runtime.file_job import FileJobRun

logger = logging.getLogger(__name__)

IMPORT_SHARE = 0.7
"""Of the progress, where a change of the contents follows the import."""


def make_version(request: DatasetVersionPayload, run: FileJobRun) -> DatasetVersionResult:
    """Make the version that the records hold as `preparing`; one that is ready already is left as it is."""
    dataset_id, number = request.dataset_id, request.version
    records, call = run.services.records, run.services.call
    try:
        version = call(records.dataset_versions.get, dataset_id, number)
    except NotFound:
        raise JobCancelled(f"The data set {dataset_id} is deleted.") from None
    if version.status is DatasetStatus.READY:
        return _result(version)
    if version.status is DatasetStatus.FAILED:
        version = call(records.dataset_versions.restart, dataset_id, number)  # a dead letter was replayed
    before, report = DatasetContents([], []), None
    if version.parent:
        before = call(records.dataset_versions.contents, dataset_id, version.parent)
        report = call(records.dataset_versions.get, dataset_id, version.parent).report
    store = AudioStore(run.services.storage, dataset_id)
    importer = RecordingImporter(run.services, store, before, run.context.check)

    def progress(fraction: float, message: str) -> None:
        run.context.progress(fraction, message, dataset_id=dataset_id, version=number)

    try:
        sources = [NewRecording(**source) for source in version.request.get("sources", ())]
        urls = version.request.get("urls", [])
        if sources or urls:
            share = 1.0 if version.made_by in ("import", "add") else IMPORT_SHARE
            importer.add(sources, lambda fraction, message: progress(fraction * share, message), urls)
        contents = importer.contents
        options = version.request.get("options", {})
        if version.made_by == "split":
            contents = split_contents(contents, SplitOptions(**options))
        elif version.made_by == "augment":
            contents = augment_contents(contents, report, AugmentOptions(**options), store, progress)
        elif version.made_by == "crop":
            contents = crop_contents(contents, CropOptions(**options), store, progress)
        run.context.check()
        message = f"{len(contents.segments)} segments, {contents.seconds / 60:.1f} minutes."
        if importer.skipped:
            message += f" {skipped_files_message(len(importer.skipped))}"
        version = call(
            records.dataset_versions.finish,
            dataset_id,
            number,
            contents,
            importer.skipped,
            message,
            inherit_report(report, before, contents),
        )
    except (PermanentError, JobCancelled, ModelError) as error:
        store.discard_new()
        call(records.dataset_versions.fail, dataset_id, number, error_document(error))
        raise
    logger.info("Version %d of %s is ready: %d segments.", number, dataset_id, version.segments)
    return _result(version)


def _result(version: DatasetVersionRecord) -> DatasetVersionResult:
    return {"dataset_id": version.dataset_id, "version": version.version, "segments": version.segments}
