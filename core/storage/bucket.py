"""A bucket of S3, Google Cloud Storage or Azure, through obstore: whole objects with their SHA-256."""

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

import httpx
import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import from_url

from core.errors import DamagedArtifact, StorageUnavailable

CHUNK_BYTES: Final = 8 << 20
"""Files up to this size are uploaded in one request; larger ones in parts of it, as a multipart upload."""
CONNECT_SECONDS: Final = 5
READ_TIMEOUT_SECONDS: Final = 30
"""A request without a byte for so long is retried."""
REQUEST_TIMEOUT_SECONDS: Final = 3600
"""Of one request, the bytes of a whole object included."""
RETRY_SECONDS: Final = 60
RETRIES: Final = 6
CONCURRENT_PARTS: Final = 4
_CHECKSUM: Final = "sha256"
"""The attribute of an object that holds the SHA-256 of its bytes."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """The metadata of an object."""

    key: str
    size: int
    etag: str
    """Changes whenever the object is written."""
    modified: float
    """Seconds since the epoch, by the bucket's clock."""


@dataclass(frozen=True, slots=True)
class LocalCopy:
    """A local file and the version of the object that it equals."""

    etag: str
    size: int
    mtime_ns: int
    """Of the local file."""
    sha256: str


class Bucket:
    """Objects under a prefix; every method raises StorageUnavailable when the bucket cannot be used."""

    def __init__(self, url: str, *, setting: str = "STORAGE_URL", retry_seconds: float = RETRY_SECONDS) -> None:
        """Open `s3://bucket/prefix?endpoint=…&region=…`; other options come from the environment (`AWS_…`).

        `setting` is what errors name; `retry_seconds` is how long a request is repeated that gets no response.
        """
        self._setting = setting
        parts = urlsplit(url)
        options: Any = dict(parse_qsl(parts.query))
        if parts.scheme == "s3":
            # S3 then compares the bytes that arrive with those that were sent, in both directions.
            options.setdefault("checksum_algorithm", "SHA256")
        client: Any = {
            "allow_http": str(options.get("endpoint", "")).startswith("http://"),
            "connect_timeout": timedelta(seconds=min(CONNECT_SECONDS, retry_seconds)),
            "read_timeout": timedelta(seconds=min(READ_TIMEOUT_SECONDS, retry_seconds)),
            "timeout": timedelta(seconds=REQUEST_TIMEOUT_SECONDS),
        }
        retry: Any = {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=retry_seconds)}
        self.name = urlunsplit(parts._replace(query=""))
        """Without the query, which may hold a secret."""
        with self._convert_errors(""):
            self._store: Any = from_url(self.name, config=options, client_options=client, retry_config=retry)

    def make(self) -> None:
        """Create the bucket of an S3 service unless it exists."""
        with self._convert_errors("the bucket itself"):
            with contextlib.suppress(FileNotFoundError, BaseError):  # who may not create a bucket may use one
                next(iter(obstore.list(self._store, chunk_size=1)), None)
                return
            # obstore has no call for it; a signed URL of the root is that of the bucket.
            address = urlsplit(obstore.sign(self._store, "PUT", "", timedelta(minutes=5)))
            url = urlunsplit(address._replace(path=address.path.rstrip("/")))
            response = httpx.put(url, timeout=READ_TIMEOUT_SECONDS)
        exists = response.status_code == 409 and "BucketAlreadyExists" not in response.text
        if not (response.is_success or exists):
            raise StorageUnavailable(
                f"The bucket {self.name} cannot be created: {response.status_code} {response.text[:200]}",
                hint="Check S3_ENDPOINT, S3_ACCESS_KEY and S3_SECRET_KEY, or create the bucket there.",
            )

    def head(self, key: str) -> ObjectInfo | None:
        """Return the metadata of an object, or None when there is none."""
        with self._convert_errors(key):
            try:
                return _object_info(obstore.head(self._store, key))
            except FileNotFoundError:
                return None

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every object under `prefix/`, in no order."""
        with self._convert_errors(prefix):
            for page in obstore.list(self._store, prefix, chunk_size=1000):
                yield from map(_object_info, page)

    def upload(self, path: Path, key: str) -> LocalCopy:
        """Write a file as an object, completely or not at all.

        Of a file that grows meanwhile, only the bytes it had at the beginning are uploaded.
        """
        with path.open("rb") as file:
            stat = os.fstat(file.fileno())
            digest = hashlib.sha256()
            for chunk in _chunks(file, stat.st_size):
                digest.update(chunk)
            file.seek(0)
            content = file.read(stat.st_size) if stat.st_size <= CHUNK_BYTES else _chunks(file, stat.st_size)
            with self._convert_errors(key):
                result = obstore.put(
                    self._store,
                    key,
                    content,
                    attributes={_CHECKSUM: digest.hexdigest()},
                    chunk_size=CHUNK_BYTES,
                    max_concurrency=CONCURRENT_PARTS,
                )
        return LocalCopy(result["e_tag"] or "", stat.st_size, stat.st_mtime_ns, digest.hexdigest())

    def download(self, key: str, path: Path) -> LocalCopy:
        """Read an object into a new file.

        Raises: FileNotFoundError when there is none, DamagedArtifact when its bytes are not those that were written.
        """
        digest = hashlib.sha256()
        with self._convert_errors(key):
            response = obstore.get(self._store, key)
            with path.open("wb") as file:
                for chunk in response.stream(CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
        expected = str(response.attributes.get(_CHECKSUM, ""))
        if expected and expected != digest.hexdigest():
            raise DamagedArtifact(
                f"{key} came from {self.name} with the SHA-256 {digest.hexdigest()} instead of {expected}.",
                hint="Restore the object from a backup, or make it again.",
            )
        stat = path.stat()
        return LocalCopy(response.meta["e_tag"] or "", stat.st_size, stat.st_mtime_ns, digest.hexdigest())

    def read(self, key: str) -> bytes:
        """Return the bytes of a small object; raise FileNotFoundError when there is none."""
        with self._convert_errors(key):
            return bytes(obstore.get(self._store, key).bytes())

    def stream(self, key: str) -> Iterator[bytes]:
        """Yield the bytes of an object; raise FileNotFoundError when there is none."""
        with self._convert_errors(key):
            for chunk in obstore.get(self._store, key).stream(CHUNK_BYTES):
                yield bytes(chunk)

    def write(self, key: str, data: bytes) -> None:
        """Write a small object, in place of an older one."""
        with self._convert_errors(key):
            obstore.put(self._store, key, data, use_multipart=False)

    def create(self, key: str, data: bytes) -> bool:
        """Write a small object unless there is one already, and return whether that was so; of several writers, one
        succeeds."""
        with self._convert_errors(key):
            try:
                obstore.put(self._store, key, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def copy(self, key: str, to: str) -> None:
        """Copy an object inside the bucket; raise FileNotFoundError when there is none."""
        with self._convert_errors(key):
            obstore.copy(self._store, key, to)

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; missing ones are ignored."""
        all_keys = list(keys)
        with self._convert_errors(", ".join(all_keys[:3])):
            for start in range(0, len(all_keys), 1000):
                obstore.delete(self._store, all_keys[start : start + 1000])

    @contextlib.contextmanager
    def _convert_errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except (BaseError, OSError, ValueError, httpx.HTTPError) as error:
            reason = str(error).partition("\n")[0]  # the rest is debug output of obstore
            raise StorageUnavailable(
                f"The storage {self.name} cannot be used for {key or 'anything'}: {reason}",
                hint=f"Check {self._setting} and the keys, and whether the bucket exists.",
            ) from error


def _object_info(meta: Any) -> ObjectInfo:
    return ObjectInfo(meta["path"], meta["size"], meta["e_tag"] or "", meta["last_modified"].timestamp())


def _chunks(file: IO[bytes], size: int) -> Iterator[bytes]:
    left = size
    while left and (chunk := file.read(min(left, CHUNK_BYTES))):
        yield chunk
        left -= len(chunk)
