"""Artefacts under one root: whole or absent, never half-written, never outside."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from core.errors import InvalidRequest

_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_TEMPORARY: Final = ".tmp"

Wanted = Callable[[str], bool]
"""Whether work needs an entry of its folder; what is not needed is not fetched."""


class Work:
    """A folder in which a stage works. What was saved, another host can go on from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self) -> None:
        """Keep what is there now; returns when it is safe. A folder of this host needs nothing for that."""

    def save_soon(self) -> None:
        """The same beside the work; asked again meanwhile, it is done again."""


class Storage:
    """A folder of artefacts, each under a key made of ids: `files/<file-id>`, `speech/<job-id>/0.wav`."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def path(self, key: str) -> Path:
        """Where the artefact of that key lies, or would lie. InvalidRequest for a key that is none.

        It may be fetched from a bucket first: from async code, call it in a thread.
        """
        return self.local(key)

    def local(self, key: str) -> Path:
        """The same place, whatever lies there now."""
        parts = key.split("/")
        if not all(_PART.fullmatch(part) for part in parts):
            raise InvalidRequest(f"{key!r} is no storage key", hint="A key is ids joined by single slashes.")
        return self.root.joinpath(*parts)

    def folder(self, key: str) -> Path:
        """The folder of that key, made when it is not there."""
        folder = self.local(key)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def working(self, key: str, wanted: Wanted = lambda entry: True) -> Iterator[Work]:
        """The folder of that key as the last `Work.save` of any host left it; of its entries, those `wanted`."""
        yield Work(self.folder(key))

    def new_temporary(self) -> Path:
        """A path that nobody else has, on the same file system, for `publish`."""
        folder = self.root / _TEMPORARY
        folder.mkdir(parents=True, exist_ok=True)
        return folder / secrets.token_hex(16)

    def publish(self, temporary: Path, key: str) -> None:
        """Give a finished temporary file its key, atomically and durably; an older artefact is replaced."""
        target = self.local(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        _sync(temporary)
        os.replace(temporary, target)
        _sync(target.parent)

    def put_bytes(self, key: str, data: bytes) -> None:
        """Write and publish."""
        temporary = self.new_temporary()
        try:
            temporary.write_bytes(data)
            self.publish(temporary, key)
        finally:
            temporary.unlink(missing_ok=True)

    def copy(self, key: str, to: str) -> None:
        """Publish a copy of one artefact under another key. FileNotFoundError when there is none."""
        temporary = self.new_temporary()
        try:
            shutil.copyfile(self.path(key), temporary)
            self.publish(temporary, to)
        finally:
            temporary.unlink(missing_ok=True)

    def exists(self, key: str) -> bool:
        return self.path(key).is_file()

    def size(self, key: str) -> int:
        """Bytes. FileNotFoundError when there is none."""
        return self.path(key).stat().st_size

    def delete(self, key: str) -> bool:
        """Whether there was something to delete."""
        try:
            self.local(key).unlink()
        except FileNotFoundError:
            return False
        return True

    def delete_folder(self, key: str) -> None:
        """Delete everything under the key; nothing there is fine."""
        folder = self.local(key)
        if folder.is_dir():
            shutil.rmtree(folder)

    def sweep(self, key: str, than: float, keep: Collection[str] = ()) -> int:
        """Delete what lies directly under the key and is older, files and folders; how many things that were.

        What is named in `keep` stays. Several processes may sweep at once.
        """
        return _sweep(self.local(key), than, keep)

    def sweep_temporary(self, than: float) -> int:
        """The same for what killed processes left unpublished."""
        return _sweep(self.root / _TEMPORARY, than)

    def used_bytes(self) -> int:
        """Bytes of all files under the root, unfinished ones included."""
        used = 0
        for folder, _, names in os.walk(self.root):
            for name in names:
                try:
                    used += os.lstat(os.path.join(folder, name)).st_size
                except FileNotFoundError:  # published or deleted while we looked
                    continue
        return used


def _sweep(folder: Path, than: float, keep: Collection[str] = ()) -> int:
    if not folder.is_dir():
        return 0
    count = 0
    for path in folder.iterdir():
        try:
            if path.name in keep or path.stat().st_mtime >= than:
                continue
        except FileNotFoundError:  # deleted by another sweeper
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        count += 1
    return count


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
