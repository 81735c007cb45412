"""Files that only their owner can read: the mask of new ones, and the data folder as a whole."""

from __future__ import annotations

import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

PRIVATE_UMASK: Final = 0o077
"""Folders get the mode 0700, files 0600."""
MARKER: Final = Path("run", "private")
"""Below a data folder, once everything in it was made private: then a start need not look at every file."""


def use_private_umask() -> None:
    """Let only the owner read what this process and its children create from now on."""
    os.umask(PRIVATE_UMASK)


def create_once(path: Path, content: bytes) -> None:
    """Create a file that only its owner can read, complete or not at all.

    When it exists already, or another process creates it at the same moment, the first content counts.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        os.unlink(temporary)


def make_private(folder: Path) -> None:
    """Create a data folder, or take other users' access to it and to everything in it; log it when there was some.

    A folder that is shared by design, as `/tmp` is, keeps its mode, and a warning says so. Links are not followed.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = folder.stat().st_mode
    was_open = bool(mode & PRIVATE_UMASK)
    if not was_open and (folder / MARKER).exists():
        return
    if mode & stat.S_ISVTX:
        logger.warning("DATA_PATH %s is shared with other users of this host; choose a folder of its own.", folder)
        return
    try:
        changed = sum(_restrict(path) for path in (folder, *_entries(folder)))
    except PermissionError as error:
        logger.warning("Other users of this host may read %s in DATA_PATH %s: %s.", error.filename, folder, error)
        return
    (folder / MARKER).parent.mkdir(mode=0o700, exist_ok=True)
    (folder / MARKER).touch(mode=0o600)
    if was_open:
        logger.info(
            "DATA_PATH %s could be read by other users of this host; now it is private to its owner: "
            "the modes of %d files and folders were changed.",
            folder,
            changed,
        )


def _restrict(path: Path) -> bool:
    """Take other users' access to a file or a folder; return whether there was some."""
    with suppress(FileNotFoundError):  # deleted meanwhile
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & PRIVATE_UMASK:
            path.chmod(mode & ~PRIVATE_UMASK)
            return True
    return False


def _entries(folder: Path) -> Iterator[Path]:
    """Yield the files and folders below a folder, without links."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            if not path.is_symlink():
                yield path
