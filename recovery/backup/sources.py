"""The files of a site that belong to a backup, and those that do not: caches, temporary files, logs, speech."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from common import storage_keys
from core.settings import REPOSITORY, Settings
from core.storage import open_storage
from recovery.backup.manifest import MODELS, PROMPTS, STORAGE

TRANSIENT: Final = (
    storage_keys.SPEECH,
    storage_keys.DOWNLOADS,
    storage_keys.INFERENCE,
    storage_keys.IMPORTS,
    storage_keys.LOGS,
)
"""Folders of storage whose content expires, and of which the queue alone knows."""
_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to back up."""

    path: str
    """Below the data folder, as in `FileEntry`."""
    stamp: str
    """Changes whenever the file is written: what has the same stamp need not be read again."""
    chunks: Callable[[], Iterator[bytes]]
    """Reads it; raises FileNotFoundError when it was deleted meanwhile."""


def site_files(settings: Settings) -> Iterator[SourceFile]:
    """Yield all files of a site that belong to a backup."""
    yield from storage_files(settings)
    yield from _folder_files(settings.models_folder, MODELS)
    catalog = settings.prompts_config
    if isinstance(catalog, Path) and catalog.is_file() and not catalog.is_relative_to(REPOSITORY):
        yield from _folder_files(catalog.parent, PROMPTS)


def storage_files(settings: Settings, folder: str = "") -> Iterator[SourceFile]:
    """Yield the artifacts, or those under the key of a folder."""
    if settings.storage_is_bucket:
        from core.storage.bucket import Bucket

        bucket = Bucket(settings.resolved_storage_url)
        for info in bucket.list(folder):
            if not _is_left_out(info.key.split("/")):
                path, stamp = f"{STORAGE}/{info.key}", f"{info.size}:{info.etag}"
                yield SourceFile(path, stamp, lambda key=info.key: bucket.stream(key))  # type: ignore[misc]
        return
    yield from _folder_files(settings.storage_root / folder, f"{STORAGE}/{folder}".rstrip("/"))


def storage_file(settings: Settings, key: str) -> SourceFile | None:
    """Return one artifact; None when there is none under the key."""
    if settings.storage_is_bucket:
        return next((file for file in storage_files(settings, key) if file.path == f"{STORAGE}/{key}"), None)
    return _source(open_storage(settings).local(key), f"{STORAGE}/{key}")


def _folder_files(root: Path, name: str) -> Iterator[SourceFile]:
    for folder, folders, names in os.walk(root):
        below = Path(folder).relative_to(root).parts
        folders[:] = sorted(
            entry for entry in folders if not _is_left_out([*name.split("/")[1:], *below, entry, "any"])
        )
        for entry in sorted(names):
            if not _is_left_out([*name.split("/")[1:], *below, entry]):
                source = _source(Path(folder, entry), "/".join((name, *below, entry)))
                if source is not None:
                    yield source


def _source(path: Path, name: str) -> SourceFile | None:
    with suppress(FileNotFoundError):
        stat = path.stat()
        if path.is_file():
            return SourceFile(name, f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}", lambda: _chunks(path))
    return None


def _is_left_out(parts: list[str]) -> bool:
    """Return whether a path, as its parts below a root, is temporary, hidden, a lock, or content that expires."""
    return (
        any(part.startswith(".") for part in parts)
        or parts[-1].endswith((".tmp", ".lock", ".part", ".incomplete"))
        or parts[0] in TRANSIENT
    )


def _chunks(path: Path) -> Iterator[bytes]:
    """Yield the bytes that the file has at the beginning; what is appended meanwhile is left out."""
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size
        while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
            left -= len(chunk)
            yield chunk
