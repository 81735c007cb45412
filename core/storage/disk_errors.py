"""Errors of the operating system that say that the disk is full or cannot be written."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

from core.errors import DiskError, StorageFull, StorageReadOnly

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REJECTED: Final = (errno.EROFS, errno.EACCES, errno.EPERM)


def is_full(error: OSError) -> bool:
    """Return whether there was no room left, by the disk or by a quota."""
    return error.errno in _FULL


def disk_error(error: OSError, folder: Path) -> DiskError | None:
    """Return the fault of the disk that holds `folder` which the error names; None when it names none."""
    if error.errno in _FULL:
        return StorageFull(
            f"The disk that holds {folder} is full.",
            hint="Make room: delete old tasks, data sets or files. A stage is tried again, or can be run again.",
        )
    if error.errno in _REJECTED:
        return StorageReadOnly(
            f"{folder} cannot be written.",
            hint="Give the user that runs sovitsd the right to write to the data folder, then try again.",
        )
    return None
