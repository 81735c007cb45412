"""A working folder that is stored in a bucket: downloaded before a stage runs, uploaded after it, for any host."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from common.files import atomic_path
from core.errors import SovitsError
from core.storage.bucket import Bucket, LocalCopy
from core.storage.copy_index import CopyIndex
from core.storage.folder_storage import EntryFilter, WorkingFolder

logger = logging.getLogger(__name__)

CONCURRENT_TRANSFERS: Final = 8


class FolderMirror:
    """Synchronizes a local folder with a prefix of a bucket."""

    def __init__(self, bucket: Bucket, index: CopyIndex, root: Path, key: str) -> None:
        self.bucket = bucket
        self.index = index
        self.root = root
        self.key = key
        self.folder = root / key

    def pull(self, include: EntryFilter) -> None:
        """Download what other hosts changed in the included entries; what only this host changed stays.

        An entry of the folder that others changed becomes what it is in the bucket, without local leftovers of a crash.
        """
        copies = self.index.under(self.key)
        objects = {info.key: info for info in self.bucket.list(self.key)}
        included = [info for key, info in objects.items() if include(self._entry(key))]
        changed = [info for info in included if info.key not in copies or copies[info.key].etag != info.etag]
        missing = [info for info in included if info.key in copies and not (self.root / info.key).exists()]
        with ThreadPoolExecutor(CONCURRENT_TRANSFERS) as pool:
            _wait_for_all(pool.map(self._download, {info.key for info in changed + missing}))
        deleted = [key for key in copies if key not in objects]
        changed_entries = {self._entry(info.key) for info in changed}
        leftovers = [
            key
            for key in map(self._key, self._files())
            if self._entry(key) in changed_entries and key not in objects and key not in copies
        ]
        for key in deleted + leftovers:
            (self.root / key).unlink(missing_ok=True)
        self.index.remove(deleted)
        self.index.touch_under(self.key, time.time())

    def push(self) -> None:
        """Upload what changed since the last pull or push, and delete from the bucket what was deleted here."""
        copies = self.index.under(self.key)
        files = {self._key(path): path for path in self._files()}
        changed = [key for key, path in files.items() if _has_changed(path, copies.get(key))]
        with ThreadPoolExecutor(CONCURRENT_TRANSFERS) as pool:
            _wait_for_all(pool.map(lambda key: self._upload(files[key], key), changed))
        deleted = [key for key in copies if key not in files]
        self.bucket.delete(deleted)
        self.index.remove(deleted)

    def push_file(self, name: str) -> None:
        """Upload one file, by its path in the folder."""
        self._upload(self.folder / name, f"{self.key}/{name}")

    def _download(self, key: str) -> None:
        try:
            with atomic_path(self.root / key) as temporary:
                copy = self.bucket.download(key, temporary)
        except FileNotFoundError:
            return  # deleted since it was listed
        self.index.put(key, copy, time.time())

    def _upload(self, path: Path, key: str) -> None:
        try:
            copy = self.bucket.upload(path, key)
        except FileNotFoundError:
            return  # replaced or deleted since it was listed; the next push handles it
        self.index.put(key, copy, time.time())

    def _files(self) -> Iterator[Path]:
        """Yield finished files: names of unfinished files, or of their folders, begin with a dot."""
        for folder, folders, names in os.walk(self.folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from (Path(folder, name) for name in names if not name.startswith("."))

    def _key(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _entry(self, key: str) -> str:
        """Return the name of the folder's direct entry that a file belongs to."""
        return key.removeprefix(f"{self.key}/").partition("/")[0]


class MirroredFolder(WorkingFolder):
    """A working folder whose `save` uploads it."""

    def __init__(
        self, mirror: FolderMirror, import_lock: AbstractContextManager[None], confirm: Callable[[], object]
    ) -> None:
        """`import_lock` is held during each save: one process, and one thread of it, transfers at a time.

        `confirm` raises when this process must not save any more.
        """
        super().__init__(mirror.folder)
        self._mirror = mirror
        self._import_lock = import_lock
        self._confirm = confirm
        self._requested = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    def save(self) -> None:
        """Upload what changed."""
        with self._import_lock:
            self._confirm()
            self._mirror.push()

    def save_file(self, name: str) -> None:
        """Upload one file of the folder."""
        with self._import_lock:
            self._confirm()
            self._mirror.push_file(name)

    def save_soon(self) -> None:
        """Upload what changed in the background; a request during an upload causes another one."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._save_in_background, name="saving", daemon=True)
            self._thread.start()
        self._requested.set()

    def close(self) -> None:
        """Wait for the upload under way and stop."""
        self._closed = True
        self._requested.set()
        if self._thread is not None:
            self._thread.join()

    def _save_in_background(self) -> None:
        while True:
            self._requested.wait()
            self._requested.clear()
            if self._closed:
                return
            try:
                self.save()
            except SovitsError as error:
                logger.warning("The work so far could not be saved for other hosts: %s", error.message)


def _wait_for_all(transfers: Iterable[None]) -> None:
    """Wait for every transfer; raise the first error."""
    for _ in transfers:
        pass


def _has_changed(path: Path, copy: LocalCopy | None) -> bool:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return False
    return copy is None or (stat.st_size, stat.st_mtime_ns) != (copy.size, copy.mtime_ns)
