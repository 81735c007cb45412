"""A disk that takes nothing, or gives nothing back: recognised and named, whatever the libraries made of it."""

from __future__ import annotations

import errno
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import BadAudio, InputGone, SovitsError, StorageFull, StorageReadOnly

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)
_TRIED_BYTES = 1 << 20
"""A disk with less room than this is full."""


@contextmanager
def storage_faults(folder: Path) -> Iterator[None]:
    """Turn what a fault of the disk under `folder` raised into StorageFull, StorageReadOnly or InputGone.

    Sound and tensor libraries say it in errors of their own, so that the disk itself is asked.
    """
    try:
        yield
    except (OSError, RuntimeError, AssertionError, BadAudio) as error:
        found = _named(error, folder) or _tried(folder)
        if found is None:
            raise
        raise found from error


def _named(error: Exception, folder: Path) -> SovitsError | None:
    """What the error says by itself."""
    if not isinstance(error, OSError):
        return None
    if error.errno in _FULL:
        return _full(folder)
    path = Path(error.filename) if isinstance(error.filename, str) else None
    if path is None or not path.is_absolute() or folder.parent.parent not in path.parents:
        return None
    if error.errno == errno.ENOENT:
        return InputGone(
            f"{path.name} is no longer in {path.parent}.", hint="Run the stage again that makes it, or upload it again."
        )
    return _read_only(folder) if error.errno in _REFUSED else None


def _tried(folder: Path) -> SovitsError | None:
    """What the disk says when something is written."""
    probe = folder / f".{secrets.token_hex(8)}.probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(bytes(_TRIED_BYTES))
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        if error.errno in _FULL:
            return _full(folder)
        if error.errno in _REFUSED:
            return _read_only(folder)
    return None


def _full(folder: Path) -> StorageFull:
    return StorageFull(
        f"The disk that holds {folder} is full.",
        hint="Make room: delete old tasks, data sets or files. The stage is tried again, or can be run again.",
    )


def _read_only(folder: Path) -> StorageReadOnly:
    return StorageReadOnly(
        f"{folder} cannot be written.",
        hint="Give the user that runs sovitsd the right to write to the data folder; then run the stage again.",
    )
