"""Faults of a disk, named whatever the libraries that met them raised."""

from __future__ import annotations

import errno
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from core.errors import BadAudio, DiskError, InputGone, SovitsError
from core.storage.disk_errors import disk_error, is_full

_PROBE_BYTES: Final = 1 << 20
"""A disk with less room than this is full."""


@contextmanager
def storage_faults(folder: Path) -> Iterator[None]:
    """Raise StorageFull, StorageReadOnly or InputGone for an error that a fault of the disk under `folder` caused.

    Audio and tensor libraries raise errors of their own for it, so a write to the disk decides.
    """
    try:
        yield
    except (OSError, RuntimeError, AssertionError, BadAudio) as error:
        fault = _find_cause(error, folder) or _probe(folder)
        if fault is None:
            raise
        raise fault from error


def _find_cause(error: Exception, folder: Path) -> SovitsError | None:
    """Return the fault that an error names by itself, if it does."""
    if not isinstance(error, OSError):
        return None
    if is_full(error):
        return disk_error(error, folder)
    path = Path(error.filename) if isinstance(error.filename, str) else None
    if path is None or not path.is_absolute() or folder.parent.parent not in path.parents:
        return None
    if error.errno == errno.ENOENT:
        return InputGone(
            f"{path.name} is no longer in {path.parent}.", hint="Run the stage again that makes it, or upload it again."
        )
    return disk_error(error, folder)


def _probe(folder: Path) -> DiskError | None:
    """Return the fault that the disk has when something is written, if it has one."""
    probe = folder / f".{secrets.token_hex(8)}.probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            probe.write_bytes(bytes(_PROBE_BYTES))
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        return disk_error(error, folder)
    return None
