"""Artefacts in a bucket that many hosts share, with copies of a bounded size on each."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Final

from core.storage.bucket import Bucket
from core.storage.folder_storage import Storage, Wanted, Work
from core.storage.index import Index
from core.storage.mirror import Mirror, MirroredWork

logger = logging.getLogger(__name__)

JUST_USED_SECONDS: Final = 600.0
"""A copy that was handed out so recently stays: someone may be about to open it."""
_WORKING_DEPTH: Final = 2
"""A working folder has a key of two parts: `experiments/<id>`."""


class BucketStorage(Storage):
    """The same artefacts under the same keys; `path` brings one here, `publish` sends it there."""

    def __init__(self, url: str, root: Path, cache_bytes: int) -> None:
        """`root` is a folder of this host's own, for copies and for work in progress."""
        super().__init__(root)
        self.bucket = Bucket(url)
        self.cache_bytes = cache_bytes
        self.index = Index(self.root / ".copies" / "index.sqlite3")

    def path(self, key: str) -> Path:
        """A copy here, as new as the one there; where it would lie when there is none."""
        local = self.local(key)
        entry, known = self.bucket.head(key), self.index.get(key)
        if entry is None:
            if known is not None:
                self._forget(key)
            return local
        if known is None or known.etag != entry.etag:
            self._fetch(key, local)
        elif not _is(local, known.size, known.mtime_ns) and not (local.exists() and self._at_work(key)):
            self._fetch(key, local)  # damaged here, unless a stage is just changing it
        self.index.touch(key, time.time())
        return local

    def publish(self, temporary: Path, key: str) -> None:
        local = self.local(key)
        sent = self.bucket.send(temporary, key)
        local.parent.mkdir(parents=True, exist_ok=True)
        os.replace(temporary, local)
        self.index.put(key, sent, time.time())
        self._make_room()

    def copy(self, key: str, to: str) -> None:
        self.local(key)
        self.local(to)  # both are keys
        self.bucket.copy(key, to)

    def exists(self, key: str) -> bool:
        self.local(key)
        return self.bucket.head(key) is not None

    def size(self, key: str) -> int:
        self.local(key)
        entry = self.bucket.head(key)
        if entry is None:
            raise FileNotFoundError(key)
        return entry.size

    def delete(self, key: str) -> bool:
        was_there = self.exists(key)
        self.bucket.delete([key])
        self._forget(key)
        return was_there

    def delete_folder(self, key: str) -> None:
        super().delete_folder(key)
        self.bucket.delete(entry.key for entry in self.bucket.list(key))
        self.index.forget(self.index.under(key))

    def used_bytes(self) -> int:
        """Bytes of all objects in the bucket; the copies here are bounded anyway."""
        return sum(entry.size for entry in self.bucket.list(""))

    def sweep(self, key: str, than: float, keep: Collection[str] = ()) -> int:
        found = defaultdict(list)
        for entry in self.bucket.list(key):
            found[entry.key.removeprefix(f"{key}/").partition("/")[0]].append(entry)
        old = [
            entries
            for name, entries in found.items()
            if name not in keep and max(one.modified for one in entries) < than
        ]
        gone = [one.key for entries in old for one in entries]
        self.bucket.delete(gone)
        for one in gone:
            self._forget(one)
        super().sweep(key, than, keep)  # the folders that the copies lay in
        return len(old)

    def sweep_temporary(self, than: float) -> int:
        """Also what work that was never saved left in the folders of experiments."""
        count = super().sweep_temporary(than)
        for folder in (self.root / "experiments").glob("*"):
            key = f"experiments/{folder.name}"
            with self._unless_at_work(f"{key}/anything") as free:
                if free and folder.stat().st_mtime < than and not self.index.under(key):
                    shutil.rmtree(folder, ignore_errors=True)
                    count += 1
        return count

    @contextmanager
    def working(self, key: str, wanted: Wanted = lambda entry: True) -> Iterator[Work]:
        mirror = Mirror(self.bucket, self.index, self.root, key)
        folder = self.folder(key)
        with _locked(self._lock_path(key), fcntl.LOCK_SH):
            turns = _Turns(self._lock_path(key, "turn"))
            with turns:
                mirror.pull(wanted)
            self._make_room()
            logger.debug("Working in %s.", folder)
            work = MirroredWork(mirror, turns)
            try:
                yield work
            finally:
                work.end()

    def _fetch(self, key: str, local: Path) -> None:
        temporary = self.new_temporary()
        try:
            sent = self.bucket.fetch(key, temporary)
            local.parent.mkdir(parents=True, exist_ok=True)
            os.replace(temporary, local)
        except FileNotFoundError:
            return  # deleted at this moment
        finally:
            temporary.unlink(missing_ok=True)
        self.index.put(key, sent, time.time())
        self._make_room()

    def _forget(self, key: str) -> None:
        super().delete(key)
        self.index.forget([key])

    def _make_room(self) -> None:
        """Delete copies, the longest unused first, until the rest fits; work in progress stays."""
        excess = self.index.total_bytes() - self.cache_bytes
        if excess <= 0:
            return
        for key, size in self.index.oldest(time.time() - JUST_USED_SECONDS):
            if excess <= 0:
                return
            with self._unless_at_work(key) as free:
                if free:
                    self.index.forget([key])  # first: a file without an entry is fetched again, never deleted there
                    (self.root / key).unlink(missing_ok=True)
                    excess -= size

    def _at_work(self, key: str) -> bool:
        with self._unless_at_work(key) as free:
            return not free

    def _unless_at_work(self, key: str) -> AbstractContextManager[bool]:
        """Keeps stages of this host from beginning in the working folder of that key; False when one is there."""
        folder = "/".join(key.split("/")[:_WORKING_DEPTH])
        return _locked(self._lock_path(folder), fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _lock_path(self, key: str, purpose: str = "work") -> Path:
        name = hashlib.sha256(key.encode()).hexdigest()[:2]  # few files forever; those who share one only wait
        return self.root / ".copies" / f"{purpose}-{name}.lock"


class _Turns:
    """One process of this host, and one thread of it, pulls or pushes a folder at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = threading.Lock()
        self._file: IO[bytes] | None = None

    def __enter__(self) -> None:
        self._threads.acquire()
        self._file = _open(self._path)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        assert self._file is not None
        self._file.close()
        self._threads.release()


@contextmanager
def _locked(path: Path, how: int) -> Iterator[bool]:
    """Hold a lock, or say that someone else does; the kernel lets go of it when the process dies."""
    with _open(path) as file:
        try:
            fcntl.flock(file, how)
        except BlockingIOError:
            yield False
            return
        yield True


def _open(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")


def _is(path: Path, size: int, mtime_ns: int) -> bool:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return False
    return (stat.st_size, stat.st_mtime_ns) == (size, mtime_ns)
