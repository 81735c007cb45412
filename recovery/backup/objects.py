"""The objects of a target, each under the SHA-256 of its bytes: what is there already is not sent again."""

from __future__ import annotations

import gzip
import hashlib
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from common.program_name import program_name
from recovery.backup.manifest import FileEntry, ObjectRef
from recovery.backup.names import OBJECTS, object_key
from recovery.backup.signatures import BadBackup
from recovery.backup.target import BackupTarget

PART_BYTES: Final = 8 << 20
"""A larger file becomes several objects, so that an interrupted backup or restore goes on within it."""
PREFETCHED_PARTS: Final = 4
_OTHER_BACKUP: Final = (
    f"Take another backup, or run `{program_name()} backup now --check-all` on the main site, if it lives."
)


class ObjectStore:
    """Reads and writes the objects of one target."""

    def __init__(self, target: BackupTarget, *, mbit_per_second: float = 0.0) -> None:
        """`mbit_per_second` limits what is written, read back included, and what is read; 0: no limit."""
        self.target = target
        self._limit = BandwidthLimit(mbit_per_second)
        self._present: dict[str, int] | None = None
        self.objects_written = 0
        self.bytes_written = 0

    def trust(self, objects: Iterable[ObjectRef]) -> None:
        """Take objects as good that a complete backup consists of, as far as the target has them in full size."""
        listed = {entry.key.rpartition("/")[2]: entry.size for entry in self.target.list(OBJECTS)}
        self._present = {item.sha256: item.size for item in objects if listed.get(item.sha256) == item.size}

    def has(self, item: ObjectRef) -> bool:
        """Return whether an object is known to be there."""
        return self._present is not None and self._present.get(item.sha256) == item.size

    def put(self, data: bytes) -> ObjectRef:
        """Write an object unless it is there, and read it back.

        Raises BadBackup when the target returns other bytes.
        """
        item = ObjectRef(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        if self.has(item):
            return item
        if not self._is_stored(item):  # an interrupted backup may have left it
            self._limit.wait(len(data))
            self.target.write(object_key(item.sha256), data)
            self.objects_written += 1
            self.bytes_written += len(data)
            if not self._is_stored(item):
                raise BadBackup(
                    f"{self.target.name} does not return what was written to it ({object_key(item.sha256)}).",
                    hint="Check the disk or the bucket, and run the backup again.",
                )
        if self._present is not None:
            self._present[item.sha256] = item.size
        return item

    def get(self, item: ObjectRef) -> bytes:
        """Return the bytes of an object; raise BadBackup when it is missing or damaged."""
        try:
            data = self.target.read(object_key(item.sha256))
        except FileNotFoundError:
            raise BadBackup(
                f"The object {item.sha256} is missing in {self.target.name}.",
                hint=_OTHER_BACKUP,
            ) from None
        self._limit.wait(len(data))
        if hashlib.sha256(data).hexdigest() != item.sha256:
            raise BadBackup(
                f"The object {item.sha256} in {self.target.name} is damaged.",
                hint=_OTHER_BACKUP,
            )
        return data

    def get_all(self, items: list[ObjectRef]) -> Iterator[bytes]:
        """Yield the bytes of objects in order, a few of which are read ahead."""
        with ThreadPoolExecutor(PREFETCHED_PARTS) as pool:
            for start in range(0, len(items), PREFETCHED_PARTS):
                yield from pool.map(self.get, items[start : start + PREFETCHED_PARTS])

    def put_file(self, path: str, chunks: Iterable[bytes]) -> FileEntry:
        """Write the bytes of a file as objects and return its entry."""
        digest, size, parts = hashlib.sha256(), 0, []
        for part in even_parts(chunks):
            digest.update(part)
            size += len(part)
            parts.append(self.put(part))
        return FileEntry(path=path, size=size, sha256=digest.hexdigest(), parts=parts)

    def put_packed(self, data: bytes) -> ObjectRef:
        """Write bytes in gzip; the same bytes give the same object."""
        return self.put(gzip.compress(data, 6, mtime=0))

    def get_packed(self, item: ObjectRef) -> bytes:
        """Return bytes that were written by `put_packed`."""
        return gzip.decompress(self.get(item))

    def _is_stored(self, item: ObjectRef) -> bool:
        try:
            data = self.target.read(object_key(item.sha256))
        except FileNotFoundError:
            return False
        self._limit.wait(len(data))
        return hashlib.sha256(data).hexdigest() == item.sha256


class BandwidthLimit:
    """Waits so long that no more than a number of megabits a second pass."""

    def __init__(self, mbit_per_second: float) -> None:
        self._bytes_per_second = mbit_per_second * 125_000
        self._free_at = 0.0

    def wait(self, count: int) -> None:
        """Wait until `count` more bytes may have passed."""
        if not self._bytes_per_second:
            return
        now = time.monotonic()
        self._free_at = max(self._free_at, now) + count / self._bytes_per_second
        time.sleep(self._free_at - now)


def even_parts(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in parts of PART_BYTES; only the last one is shorter. No bytes give no part."""
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= PART_BYTES:
            yield bytes(buffer[:PART_BYTES])
            del buffer[:PART_BYTES]
    if buffer:
        yield bytes(buffer)
