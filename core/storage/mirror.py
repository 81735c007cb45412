"""A working folder that lives in a bucket: brought down before work, sent up after it, so that any host can go on."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from core.errors import StorageUnavailable
from core.storage.bucket import Bucket, Sent
from core.storage.folder_storage import Wanted, Work
from core.storage.index import Index

logger = logging.getLogger(__name__)

AT_ONCE: Final = 8
"""Files under way at the same time."""


class Mirror:
    """One folder here, one prefix there."""

    def __init__(self, bucket: Bucket, index: Index, root: Path, key: str) -> None:
        self.bucket = bucket
        self.index = index
        self.root = root
        self.key = key
        self.folder = root / key

    def pull(self, wanted: Wanted) -> None:
        """Take in what others wrote; what only this host has changed stays.

        An entry of the folder that others changed is taken as it is there: nothing of what a crash left of it here
        remains.
        """
        known = self.index.under(self.key)
        there = {entry.key: entry for entry in self.bucket.list(self.key)}
        of_use = [entry for key, entry in there.items() if wanted(self._entry(key))]
        news = [entry for entry in of_use if entry.key not in known or known[entry.key].etag != entry.etag]
        missing = [entry for entry in of_use if entry.key in known and not (self.root / entry.key).exists()]
        self._fetch_all({entry.key for entry in news + missing})
        gone = [key for key in known if key not in there]
        changed = {self._entry(entry.key) for entry in news}
        leftovers = [
            key
            for key in map(self._key, self._files())
            if self._entry(key) in changed and key not in there and key not in known
        ]
        for key in gone + leftovers:
            (self.root / key).unlink(missing_ok=True)
        self.index.forget(gone)
        self.index.touch_under(self.key, time.time())

    def push(self) -> None:
        """Send what changed since the last pull or push, and delete there what was deleted here."""
        known = self.index.under(self.key)
        here = {self._key(path): path for path in self._files()}
        changed = [key for key, path in here.items() if _changed(path, known.get(key))]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(lambda key: self._send(here[key], key), changed):
                pass
        gone = [key for key in known if key not in here]
        self.bucket.delete(gone)
        self.index.forget(gone)

    def _fetch_all(self, keys: Iterable[str]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for _ in pool.map(self._fetch, keys):
                pass

    def _fetch(self, key: str) -> None:
        target = self.root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            sent = self.bucket.fetch(key, temporary)
            os.replace(temporary, target)
        except FileNotFoundError:
            return  # deleted since it was listed
        finally:
            temporary.unlink(missing_ok=True)
        self.index.put(key, sent, time.time())

    def _send(self, path: Path, key: str) -> None:
        try:
            sent = self.bucket.send(path, key)
        except FileNotFoundError:
            return  # replaced or deleted since it was listed; the next push sees to it
        self.index.put(key, sent, time.time())

    def _files(self) -> Iterator[Path]:
        """Finished ones: what is being made has a name, or lies in a folder, that begins with a dot."""
        for folder, folders, names in os.walk(self.folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from (Path(folder, name) for name in names if not name.startswith("."))

    def _key(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _entry(self, key: str) -> str:
        """The entry of the folder that the file belongs to."""
        return key.removeprefix(f"{self.key}/").partition("/")[0]


class MirroredWork(Work):
    """Work whose `save` sends the folder up; `save_soon` does it beside the work."""

    def __init__(self, mirror: Mirror, turn: AbstractContextManager[None]) -> None:
        """`turn` is entered for each save: one process, and one thread of it, at a time."""
        super().__init__(mirror.folder)
        self._mirror = mirror
        self._turn = turn
        self._asked = threading.Event()
        self._ended = False
        self._thread: threading.Thread | None = None

    def save(self) -> None:
        with self._turn:
            self._mirror.push()

    def save_soon(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_saving, name="saving", daemon=True)
            self._thread.start()
        self._asked.set()

    def end(self) -> None:
        """Wait for what is being saved."""
        self._ended = True
        self._asked.set()
        if self._thread is not None:
            self._thread.join()

    def _keep_saving(self) -> None:
        while True:
            self._asked.wait()
            self._asked.clear()
            if self._ended:
                return
            try:
                self.save()
            except StorageUnavailable as error:
                logger.warning("The work so far could not be saved for other hosts: %s", error.message)


def _changed(path: Path, known: Sent | None) -> bool:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return False
    return known is None or (stat.st_size, stat.st_mtime_ns) != (known.size, known.mtime_ns)
