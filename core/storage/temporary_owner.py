"""Who made a temporary file: a process holds a lock as long as it lives, so that the files of a dead one are known."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from common.operating_system import lock_file, open_folder_lock

_OWNERS: Final = ".owners"
_open_locks: list[int] = []
"""Descriptors that stay open until this process ends."""


@cache
def owner_token(root: Path) -> str:
    """Return what the names of this process's temporary files under a root begin with."""
    while True:
        token = secrets.token_hex(8)
        folder = root / _OWNERS / token
        folder.mkdir(parents=True)
        try:
            lock = open_folder_lock(folder)
        except FileNotFoundError:
            continue  # taken for a dead one's in this very moment
        lock_file(lock)
        if folder.is_dir():
            _open_locks.append(lock)
            return token
        os.close(lock)


def is_alive(root: Path, token: str) -> bool:
    """Return whether the process of a token still runs; True, too, where the file system has no locks to tell by."""
    try:
        lock = open_folder_lock(root / _OWNERS / token)
    except FileNotFoundError:
        return False
    try:
        lock_file(lock, shared=True, wait=False)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(lock)


def dead_owners(root: Path) -> Iterator[str]:
    """Yield the tokens of processes that ended; each is forgotten once its files have been deleted."""
    folder = root / _OWNERS
    if not folder.is_dir():
        return
    for entry in list(folder.iterdir()):
        try:
            lock = open_folder_lock(entry)
        except FileNotFoundError:
            continue
        try:
            lock_file(lock, wait=False)
        except OSError:  # held: it lives; or a file system without locks, where age decides
            continue
        else:
            yield entry.name
            with suppress(OSError):
                entry.rmdir()
        finally:
            os.close(lock)
