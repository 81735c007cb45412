"""An experiment's folder that hosts share: what a stage needs of it, and what it leaves when it cannot finish."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import SovitsError, StorageUnavailable
from core.storage import Wanted, Work
from roles.runtime.role import JobContext

logger = logging.getLogger(__name__)

_TRAINING_FOLDER = re.compile(r"(sovits|gpt)_\d+")


def wanted_by(stage: str, work_run: int) -> Wanted:
    """Everything but the trainings' own folders, whose states are large; a training wants the one it goes on in."""
    own = f"{stage.removesuffix('_train')}_{work_run}"
    return lambda entry: entry == own or _TRAINING_FOLDER.fullmatch(entry) is None


@contextmanager
def saved_for_others(work: Work, context: JobContext) -> Iterator[None]:
    """When the block ends early, to go on later (after a drain, a pause, a failure), save what is done.

    Not when the job is cancelled or belongs to another worker now.
    """
    try:
        yield
    except SovitsError:
        if context.reason is None:
            try:
                work.save()
            except StorageUnavailable as error:
                logger.warning("Another host will find less than was done here: %s", error.message)
        raise
