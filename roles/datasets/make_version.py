"""The job that makes a version of a data set: take uploads in, then split, augment or crop what is there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from core.datasets.edit import inherited
from core.datasets.options import AugmentOptions, CropOptions, NewRecording, SplitOptions
from core.datasets.report import not_taken
from core.datasets.split import split
from core.errors import JobCancelled, NotFound, PermanentError
from core.records.dataset_rows import DatasetContents, DatasetStatus, DatasetVersionRecord
from GPT_SoVITS.errors import ModelError
from roles.datasets.audio_store import Sounds
from roles.datasets.change import augment_contents, crop_contents
from roles.datasets.import_files import Intake
from roles.runtime.errors import from_code

if TYPE_CHECKING:
    from roles.preprocessor import WorkRun

logger = logging.getLogger(__name__)


class Making:
    """What a change of a data set may use."""

    def __init__(self, run: WorkRun, version: DatasetVersionRecord, before: DatasetContents) -> None:
        self.run = run
        self.version = version
        self.contents = before
        self.sounds = Sounds(run.services.storage, version.dataset_id)

    @property
    def options(self) -> dict[str, Any]:
        found: dict[str, Any] = self.version.request.get("options", {})
        return found

    def progress(self, fraction: float, message: str) -> None:
        self.run.context.progress(fraction, message, dataset_id=self.version.dataset_id, version=self.version.version)


def make_version(run: WorkRun) -> dict[str, Any]:
    """Make the version that the payload names; a second time is harmless."""
    dataset_id, number = run.job.payload["dataset_id"], int(run.job.payload["version"])
    records, call = run.services.records, run.services.call
    version = _find(run, dataset_id, number)
    if version.status is DatasetStatus.READY:
        return _result(version)
    if version.status is DatasetStatus.FAILED:
        version = call(records.restart_dataset_version, dataset_id, number)  # a dead letter was replayed
    before, report = DatasetContents([], []), None
    if version.parent:
        before = call(records.dataset_contents, dataset_id, version.parent)
        report = call(records.get_dataset_version, dataset_id, version.parent).report
    making = Making(run, version, before)
    try:
        skipped = _take_in(making)
        making.contents = _CHANGES[version.made_by](making, report)
        after = making.contents
        run.context.check()
        made = call(
            records.finish_dataset_version,
            dataset_id,
            number,
            after,
            skipped,
            _message(after, skipped),
            inherited(report, before, after),
        )
    except (PermanentError, JobCancelled, ModelError) as error:
        making.sounds.forget_new()
        known = as_error(error)
        call(records.fail_dataset_version, dataset_id, number, known)
        raise
    logger.info("Version %d of %s is ready: %d segments.", number, dataset_id, made.segments)
    return _result(made)


def _take_in(making: Making) -> list[dict[str, str]]:
    """Decode and cut the uploads that the request names; what could not be taken."""
    sources = [NewRecording(**one) for one in making.version.request.get("sources", ())]
    if not sources:
        return []
    intake = Intake(making.run.services, making.sounds, making.contents, making.run.context.check)
    share = 1.0 if making.version.made_by in ("import", "add") else 0.7
    intake.take(sources, lambda fraction, message: making.progress(fraction * share, message))
    making.contents = intake.contents
    return intake.skipped


def _split(making: Making, report: dict[str, Any] | None) -> DatasetContents:
    return split(making.contents, SplitOptions(**making.options))


def _augment(making: Making, report: dict[str, Any] | None) -> DatasetContents:
    return augment_contents(making.contents, report, AugmentOptions(**making.options), making.sounds, making.progress)


def _crop(making: Making, report: dict[str, Any] | None) -> DatasetContents:
    return crop_contents(making.contents, CropOptions(**making.options), making.sounds, making.progress)


def _as_it_is(making: Making, report: dict[str, Any] | None) -> DatasetContents:
    return making.contents


_CHANGES: Final[dict[str, Callable[[Making, dict[str, Any] | None], DatasetContents]]] = {
    "import": _as_it_is,
    "add": _as_it_is,
    "split": _split,
    "augment": _augment,
    "crop": _crop,
}


def _find(run: WorkRun, dataset_id: str, number: int) -> DatasetVersionRecord:
    try:
        return run.services.call(run.services.records.get_dataset_version, dataset_id, number)
    except NotFound:
        raise JobCancelled(f"The data set {dataset_id} is deleted.") from None


def as_error(error: PermanentError | JobCancelled | ModelError) -> dict[str, Any]:
    """As the records keep it."""
    if isinstance(error, ModelError):
        return from_code(error.code, error.message, error.hint, permanent=True).as_dict()
    return error.as_dict()


def _message(contents: DatasetContents, skipped: list[dict[str, str]]) -> str:
    told = f"{len(contents.segments)} segments, {contents.seconds / 60:.1f} minutes."
    return f"{told} {not_taken(len(skipped))}" if skipped else told


def _result(version: DatasetVersionRecord) -> dict[str, Any]:
    return {"dataset_id": version.dataset_id, "version": version.version, "segments": version.segments}
