"""Artifacts under one root folder: complete or absent, never half-written, never outside of the root."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from common.files import sync
from core.errors import InvalidRequest
from core.storage.temporary_owner import dead_owners, is_alive, owner_token

_KEY_PART: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_TEMPORARY: Final = ".tmp"
_UNRECORDED: Final = ".unrecorded"

EntryFilter = Callable[[str], bool]
"""Whether a stage needs an entry of its working folder; other entries are not downloaded."""


class WorkingFolder:
    """A folder in which a stage works. After a `save`, another host can continue from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self) -> None:
        """Store the folder's content for other hosts; a folder of this host alone needs nothing."""

    def save_file(self, name: str) -> None:
        """Save one file of the folder, so that it can be downloaded at once."""

    def save_soon(self) -> None:
        """Save in the background; a request during a save causes another one."""


class Storage:
    """A folder of artifacts, each under a key made of ids (`common.storage_keys`)."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def path(self, key: str) -> Path:
        """Return where the artifact of a key lies, or would lie; raise InvalidRequest for an invalid key.

        It may be downloaded from a bucket first: from async code, call it in a thread.
        """
        return self.local(key)

    def local(self, key: str) -> Path:
        """Return the local path of a key without downloading anything."""
        parts = key.split("/")
        if not all(_KEY_PART.fullmatch(part) for part in parts):
            raise InvalidRequest(f"{key!r} is no storage key", hint="A key is ids joined by single slashes.")
        return self.root.joinpath(*parts)

    def folder(self, key: str) -> Path:
        """Return the folder of a key; create it if it is missing."""
        folder = self.local(key)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @contextmanager
    def working(
        self, key: str, include: EntryFilter = lambda entry: True, confirm: Callable[[], object] = lambda: None
    ) -> Iterator[WorkingFolder]:
        """Open the folder of a key as the last `WorkingFolder.save` of any host left it, with the included entries.

        `confirm` is called right before each save reaches other hosts, and raises when it must not.
        """
        yield WorkingFolder(self.folder(key))

    def new_temporary(self) -> Path:
        """Return an unused path on the same file system, for `publish`."""
        folder = self.root / _TEMPORARY
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{owner_token(self.root)}.{secrets.token_hex(16)}"

    @contextmanager
    def temporary_file(self) -> Iterator[Path]:
        """Yield a path for `publish`; what is left there at the end is deleted."""
        path = self.new_temporary()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def recording(self, key: str) -> Iterator[None]:
        """Delete what a key names, or its folder, unless the block, which stores and records it, ends without an error.

        If this process dies inside, the key is one of `unrecorded_keys` from then on.
        """
        note = self.root / _UNRECORDED / self.new_temporary().name
        note.parent.mkdir(exist_ok=True)
        note.write_text(key, encoding="ascii")
        try:
            yield
        except BaseException:
            self.delete_all(key)
            note.unlink(missing_ok=True)
            raise
        note.unlink(missing_ok=True)

    def unrecorded_keys(self) -> dict[Path, str]:
        """Return the keys that processes which have died may not have recorded, each by its note.

        Whoever has looked after one deletes the note.
        """
        notes, being_recorded = {}, set()
        for note in (self.root / _UNRECORDED).glob("*"):
            with suppress(FileNotFoundError):
                key = note.read_text(encoding="ascii")
                if is_alive(self.root, note.name.partition(".")[0]):
                    being_recorded.add(key)  # a repeated request makes the same key
                else:
                    notes[note] = key
        return {note: key for note, key in notes.items() if key not in being_recorded}

    def delete_all(self, key: str) -> None:
        """Delete the artifact or the folder of a key, if there is one."""
        self.delete_folder(key)
        self.delete(key)

    @contextmanager
    def temporary_folder(self) -> Iterator[Path]:
        """Create a folder on the storage's own disk and delete it at the end."""
        folder = self.new_temporary()
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, temporary: Path, key: str) -> None:
        """Move a finished temporary file to its key, atomically and durably; an older artifact is replaced."""
        target = self.local(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        sync(temporary)
        os.replace(temporary, target)
        sync(target.parent)

    def put_bytes(self, key: str, data: bytes) -> None:
        """Write and publish an artifact."""
        temporary = self.new_temporary()
        try:
            temporary.write_bytes(data)
            self.publish(temporary, key)
        finally:
            temporary.unlink(missing_ok=True)

    def copy(self, key: str, to: str) -> None:
        """Publish a copy of an artifact under another key; raise FileNotFoundError when there is none."""
        temporary = self.new_temporary()
        try:
            shutil.copyfile(self.path(key), temporary)
            self.publish(temporary, to)
        finally:
            temporary.unlink(missing_ok=True)

    def exists(self, key: str) -> bool:
        """Return whether there is an artifact under a key."""
        return self.path(key).is_file()

    def size(self, key: str) -> int:
        """Return the size of an artifact in bytes; raise FileNotFoundError when there is none."""
        return self.path(key).stat().st_size

    def delete(self, key: str) -> bool:
        """Delete an artifact; return whether there was one."""
        try:
            self.local(key).unlink()
        except FileNotFoundError:
            return False
        return True

    def delete_folder(self, key: str) -> None:
        """Delete everything under a key; a missing folder is ignored."""
        folder = self.local(key)
        if folder.is_dir():
            shutil.rmtree(folder)

    def sweep(self, key: str, than: float, keep: Collection[str] = ()) -> int:
        """Delete files and folders directly under a key that are older than a time; return how many.

        Names in `keep` stay. Several processes may sweep at once.
        """
        return _sweep(self.local(key), than, keep)

    def sweep_temporary(self, than: float) -> int:
        """Delete temporary files of processes that ended, and old ones of any; return how many."""
        folder = self.root / _TEMPORARY
        left = 0
        for token in dead_owners(self.root):
            for path in folder.glob(f"{token}.*"):
                _delete(path)
                left += 1
        return left + _sweep(folder, than)

    def used_bytes(self) -> int:
        """Return the size of all files under the root, temporary ones included."""
        used = 0
        for folder, _, names in os.walk(self.root):
            for name in names:
                try:
                    used += os.lstat(os.path.join(folder, name)).st_size
                except FileNotFoundError:  # published or deleted meanwhile
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
        _delete(path)
        count += 1
    return count


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
