"""Artifacts in a bucket that many hosts share, with copies of a bounded total size on each host."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Final

from common.operating_system import lock_file
from common.storage_keys import EXPERIMENTS, experiment_file, experiment_folder
from core.storage.bucket import Bucket, LocalCopy
from core.storage.copy_index import CopyIndex
from core.storage.folder_mirror import FolderMirror, MirroredFolder
from core.storage.folder_storage import EntryFilter, Storage, WorkingFolder

logger = logging.getLogger(__name__)

JUST_USED_SECONDS: Final = 600.0
"""A copy that was used so recently stays: its user may be about to open it."""
_WORKING_DEPTH: Final = 2
"""The number of parts of a working folder's key: `experiments/<id>`."""


class BucketStorage(Storage):
    """The artifacts of a bucket: `path` downloads one, `publish` uploads it."""

    def __init__(self, url: str, root: Path, cache_bytes: int, *, make_bucket: bool = False) -> None:
        """Open a bucket, made when it is missing if `make_bucket` is set; `root` is a local folder for copies and for
        work in progress."""
        super().__init__(root)
        self.bucket = Bucket(url)
        if make_bucket:
            self.bucket.make()
        self.cache_bytes = cache_bytes
        self.index = CopyIndex(self.root / ".copies" / "index.sqlite3")

    def path(self, key: str) -> Path:
        """Return an up-to-date local copy; where it would lie when there is no such artifact."""
        local = self.local(key)
        info, copy = self.bucket.head(key), self.index.get(key)
        if info is None:
            if copy is not None:
                self._remove_copy(key)
            return local
        if copy is None or copy.etag != info.etag:
            self._download(key, local)
        elif not _is_unchanged(local, copy) and not (local.exists() and self._in_use(key)):
            self._download(key, local)  # damaged here, unless a stage is just changing it
        self.index.touch(key, time.time())
        return local

    def publish(self, temporary: Path, key: str) -> None:
        """Upload a finished temporary file under its key and keep it as the local copy."""
        local = self.local(key)
        copy = self.bucket.upload(temporary, key)
        local.parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary, local)
        self.index.put(key, copy, time.time())
        self._evict_copies()

    def copy(self, key: str, to: str) -> None:
        """Copy an artifact inside the bucket; raise FileNotFoundError when there is none."""
        self.local(key)
        self.local(to)  # both raise for an invalid key
        self.bucket.copy(key, to)

    def exists(self, key: str) -> bool:
        """Return whether there is an artifact under a key."""
        self.local(key)
        return self.bucket.head(key) is not None

    def size(self, key: str) -> int:
        """Return the size of an artifact in bytes; raise FileNotFoundError when there is none."""
        self.local(key)
        info = self.bucket.head(key)
        if info is None:
            raise FileNotFoundError(key)
        return info.size

    def delete(self, key: str) -> bool:
        """Delete an artifact and its copy here; return whether there was one."""
        existed = self.exists(key)
        self.bucket.delete([key])
        self._remove_copy(key)
        return existed

    def delete_folder(self, key: str) -> None:
        """Delete everything under a key, here and in the bucket."""
        super().delete_folder(key)
        self.bucket.delete(info.key for info in self.bucket.list(key))
        self.index.remove(self.index.under(key))

    def used_bytes(self) -> int:
        """Return the size of all objects in the bucket, without the copies here."""
        return sum(info.size for info in self.bucket.list(""))

    def sweep(self, key: str, than: float, keep: Collection[str] = ()) -> int:
        """Delete files and folders directly under a key that are older than a time; return how many."""
        entries = defaultdict(list)
        for info in self.bucket.list(key):
            entries[info.key.removeprefix(f"{key}/").partition("/")[0]].append(info)
        old = [
            objects
            for name, objects in entries.items()
            if name not in keep and max(info.modified for info in objects) < than
        ]
        keys = [info.key for objects in old for info in objects]
        self.bucket.delete(keys)
        for deleted_key in keys:
            self._remove_copy(deleted_key)
        super().sweep(key, than, keep)  # the folders of the copies
        return len(old)

    def sweep_temporary(self, than: float) -> int:
        """Delete old temporary files, and folders of experiments that were never saved; return how many."""
        count = super().sweep_temporary(than)
        for folder in (self.root / EXPERIMENTS).glob("*"):
            key = experiment_folder(folder.name)
            with self._unless_in_use(experiment_file(folder.name, "any")) as free:
                if free and folder.stat().st_mtime < than and not self.index.under(key):
                    shutil.rmtree(folder, ignore_errors=True)
                    count += 1
        return count

    @contextmanager
    def working(
        self, key: str, include: EntryFilter = lambda entry: True, confirm: Callable[[], object] = lambda: None
    ) -> Iterator[WorkingFolder]:
        """Download the folder of a key and open it; its copies are not evicted until it is closed."""
        mirror = FolderMirror(self.bucket, self.index, self.root, key)
        folder = self.folder(key)
        with _file_lock(self._lock_path(key), shared=True):
            import_lock = _ImportLock(self._lock_path(key, "turn"))
            with import_lock:
                mirror.pull(include)
            self._evict_copies()
            logger.debug("Working in %s.", folder)
            working_folder = MirroredFolder(mirror, import_lock, confirm)
            try:
                yield working_folder
            finally:
                working_folder.close()

    def _download(self, key: str, local: Path) -> None:
        temporary = self.new_temporary()
        try:
            copy = self.bucket.download(key, temporary)
            local.parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary, local)
        except FileNotFoundError:
            return  # deleted at this moment
        finally:
            temporary.unlink(missing_ok=True)
        self.index.put(key, copy, time.time())
        self._evict_copies()

    def _remove_copy(self, key: str) -> None:
        super().delete(key)
        self.index.remove([key])

    def _evict_copies(self) -> None:
        """Delete copies, the longest unused first, until the rest fits; working folders stay."""
        excess = self.index.total_bytes() - self.cache_bytes
        if excess <= 0:
            return
        for key, size in self.index.unused(time.time() - JUST_USED_SECONDS):
            if excess <= 0:
                return
            with self._unless_in_use(key) as free:
                if free:
                    self.index.remove(
                        [key]
                    )  # first: a file that is not in the index is downloaded again, never deleted there
                    (self.root / key).unlink(missing_ok=True)
                    excess -= size

    def _in_use(self, key: str) -> bool:
        with self._unless_in_use(key) as free:
            return not free

    def _unless_in_use(self, key: str) -> AbstractContextManager[bool]:
        """Keep stages of this host from opening the working folder of a key; yield False when one uses it."""
        folder = "/".join(key.split("/")[:_WORKING_DEPTH])
        return _file_lock(self._lock_path(folder), wait=False)

    def _lock_path(self, key: str, purpose: str = "work") -> Path:
        name = hashlib.sha256(key.encode()).hexdigest()[
            :2
        ]  # a bounded number of files; keys that share one wait for each other
        return self.root / ".copies" / f"{purpose}-{name}.lock"


class _ImportLock:
    """Lets one process of this host, and one thread of it, transfer a folder at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = threading.Lock()
        self._file: IO[bytes] | None = None

    def __enter__(self) -> None:
        self._threads.acquire()
        self._file = _open_lock_file(self._path)
        lock_file(self._file)

    def __exit__(self, *_: object) -> None:
        assert self._file is not None
        self._file.close()
        self._threads.release()


@contextmanager
def _file_lock(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Hold a lock, or yield False when it is taken; the kernel releases it when the process dies."""
    with _open_lock_file(path) as file:
        try:
            lock_file(file, shared=shared, wait=wait)
        except BlockingIOError:
            yield False
            return
        yield True


def _open_lock_file(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")


def _is_unchanged(path: Path, copy: LocalCopy) -> bool:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return False
    return (stat.st_size, stat.st_mtime_ns) == (copy.size, copy.mtime_ns)
