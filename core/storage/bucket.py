"""A bucket of S3, Google Cloud Storage or Azure, spoken to through obstore: whole objects with their SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from core.errors import DamagedArtifact, StorageUnavailable

CHUNK_BYTES: Final = 8 << 20
"""Files up to this size go up in one request; larger ones in parts of it, which become one object at their end."""
CONNECT_SECONDS: Final = 5
SILENCE_SECONDS: Final = 30
"""A request that hears nothing for so long is tried again."""
LONGEST_SECONDS: Final = 3600
"""Of one request, the bytes of a whole object included."""
RETRY_SECONDS: Final = 60
RETRIES: Final = 6
PARTS_AT_ONCE: Final = 4
_CHECKSUM: Final = "sha256"
"""The name under which an object carries the SHA-256 of its bytes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a bucket says about an object without sending it."""

    key: str
    size: int
    etag: str
    """Changes whenever the object is written."""
    modified: float
    """Seconds since the epoch, by the bucket's clock."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A file as it went up, or came down."""

    etag: str
    size: int
    mtime_ns: int
    """Of the local file whose bytes these are."""
    sha256: str


class Bucket:
    """Objects under a prefix. StorageUnavailable when the bucket does not answer or refuses."""

    def __init__(self, url: str) -> None:
        """`s3://bucket/prefix?endpoint=…&region=…`; what the query does not say, the environment (`AWS_…`) does."""
        address, options = _parse(url)
        client: Any = {
            "allow_http": str(options.get("endpoint", "")).startswith("http://"),
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "read_timeout": timedelta(seconds=SILENCE_SECONDS),
            "timeout": timedelta(seconds=LONGEST_SECONDS),
        }
        retry: Any = {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)}
        self.name = urlunsplit(urlsplit(url)._replace(query=""))
        """Without the query, which may hold a secret."""
        with self._explained(""):
            self._store: Any = from_url(address, config=options, client_options=client, retry_config=retry)

    def head(self, key: str) -> Entry | None:
        """None when there is no such object."""
        with self._explained(key):
            try:
                return _entry(obstore.head(self._store, key))
            except FileNotFoundError:
                return None

    def list(self, prefix: str) -> Iterator[Entry]:
        """Everything under `prefix/`, in no order."""
        with self._explained(prefix):
            for page in obstore.list(self._store, prefix, chunk_size=1000):
                yield from map(_entry, page)

    def send(self, path: Path, key: str) -> Sent:
        """Write a file as an object: all of it or, whatever happens, nothing.

        A file that grows meanwhile is sent as long as it was at the beginning.
        """
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            digest = hashlib.sha256()
            for chunk in _chunks(file, stat.st_size):
                digest.update(chunk)
            file.seek(0)
            content = file.read(stat.st_size) if stat.st_size <= CHUNK_BYTES else _chunks(file, stat.st_size)
            with self._explained(key):
                result = obstore.put(
                    self._store,
                    key,
                    content,
                    attributes={_CHECKSUM: digest.hexdigest()},
                    chunk_size=CHUNK_BYTES,
                    max_concurrency=PARTS_AT_ONCE,
                )
        return Sent(result["e_tag"] or "", stat.st_size, stat.st_mtime_ns, digest.hexdigest())

    def fetch(self, key: str, to: Path) -> Sent:
        """Read an object into a new file. DamagedArtifact: its bytes are not those that were written.

        FileNotFoundError when there is none.
        """
        digest = hashlib.sha256()
        with self._explained(key):
            answer = obstore.get(self._store, key)
            with to.open("wb") as file:
                for chunk in answer.stream(CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
        wanted = str(answer.attributes.get(_CHECKSUM, ""))
        if wanted and wanted != digest.hexdigest():
            raise DamagedArtifact(
                f"{key} came from {self.name} with the SHA-256 {digest.hexdigest()} instead of {wanted}.",
                hint="Restore the object from a backup, or make it again.",
            )
        stat = to.stat()
        return Sent(answer.meta["e_tag"] or "", stat.st_size, stat.st_mtime_ns, digest.hexdigest())

    def copy(self, key: str, to: str) -> None:
        """FileNotFoundError when there is nothing to copy."""
        with self._explained(key):
            obstore.copy(self._store, key, to)

    def delete(self, keys: Iterable[str]) -> None:
        """What is not there is fine."""
        found = list(keys)
        with self._explained(", ".join(found[:3])):
            for start in range(0, len(found), 1000):
                obstore.delete(self._store, found[start : start + 1000])

    @contextlib.contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except (BaseError, OSError, ValueError) as error:
            reason = str(error).partition("\n")[0]  # the rest is for those who debug obstore
            raise StorageUnavailable(
                f"The storage {self.name} cannot be used for {key or 'anything'}: {reason}",
                hint="Check STORAGE_URL and the keys, and whether the bucket exists.",
            ) from error


def _parse(url: str) -> tuple[str, Any]:
    parts = urlsplit(url)
    options: Any = dict(parse_qsl(parts.query))
    if parts.scheme == "s3":
        # What comes is compared with what was written, on the way up as on the way down.
        options.setdefault("checksum_algorithm", "SHA256")
    return urlunsplit(parts._replace(query="")), options


def _entry(meta: Any) -> Entry:
    return Entry(meta["path"], meta["size"], meta["e_tag"] or "", meta["last_modified"].timestamp())


def _chunks(file: IO[bytes], size: int) -> Iterator[bytes]:
    left = size
    while left and (chunk := file.read(min(left, CHUNK_BYTES))):
        yield chunk
        left -= len(chunk)
