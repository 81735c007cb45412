"""An experiment's folder that hosts share: which entries a stage needs, and what is saved when it cannot finish."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from core.errors import SovitsError, StorageUnavailable
from core.storage import EntryFilter, WorkingFolder
from roles.runtime.role import JobContext

logger = logging.getLogger(__name__)

_TRAINING_FOLDER: Final = re.compile(r"(sovits|gpt)_\d+")


def own_folder_name(stage: str, work_run: int) -> str:
    """Return the name of the folder in which a training or a test of its result works, such as `gpt_1`."""
    return f"{stage.removesuffix('_train')}_{work_run}"


def needed_entries(stage: str, work_run: int) -> EntryFilter:
    """Return the filter of the folder's entries for a stage.

    It leaves out the folders of trainings, whose states are large, but the one that this training continues in.
    """
    own = own_folder_name(stage, work_run)
    return lambda entry: entry == own or _TRAINING_FOLDER.fullmatch(entry) is None


@contextmanager
def saved_on_failure(folder: WorkingFolder, context: JobContext) -> Iterator[None]:
    """Save the folder when the block fails or stops to be continued later (after a drain or a pause).

    It is not saved when the job is cancelled or belongs to another worker now.
    """
    try:
        yield
    except SovitsError:
        if context.reason is None:
            try:
                folder.save()
            except StorageUnavailable as error:
                logger.warning("Another host will find less than was done here: %s", error.message)
        raise
