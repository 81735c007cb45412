"""Deletion of old backups; the newest good one is never deleted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from recovery.backup.catalog import BackupCatalog
from recovery.backup.changes import read_batches
from recovery.backup.names import CHANGES, OBJECTS, manifest_key
from recovery.backup.objects import ObjectStore
from recovery.backup.signatures import BadBackup

GRACE_SECONDS: Final = 86_400.0
"""An object that no backup has is deleted when it is so old: a backup that is being made may be about to name it."""


@dataclass(slots=True)
class PruneResult:
    """What was deleted."""

    backups: list[str]
    objects: int = 0
    bytes: int = 0


def prune(catalog: BackupCatalog, store: ObjectStore, *, keep_days: float, keep_count: int) -> PruneResult:
    """Delete backups older than `keep_days`, beyond the newest `keep_count`, and objects that no backup has.

    `keep_days` 0 keeps all. When a backup that stays cannot be read, no object is deleted: it may need it.
    """
    names = catalog.names()
    good = next((name for name in names if _is_good(catalog, name)), None)
    expired: list[str] = []
    if keep_days:
        for name in names[keep_count:]:
            if name != good and _age_days(catalog, name) > keep_days:
                expired.append(name)
    result = PruneResult(expired)
    kept = [name for name in names if name not in expired]
    needed: set[str] = set()
    for name in kept:
        try:
            manifest = catalog.read(name)
            needed.update(item.sha256 for item in catalog.objects(manifest, store))
            for batch in read_batches(catalog, name):
                needed.update(part.sha256 for file in batch.files for part in file.parts)
        except BadBackup:
            needed = {entry.key.rpartition("/")[2] for entry in catalog.target.list(OBJECTS)}
            break
    # The archive and the manifest first: a backup without its objects must not look like one.
    catalog.target.delete(key for name in expired for key in (manifest_key(name), name))
    changes = [entry for entry in catalog.target.list(CHANGES) if entry.key.split("/")[1] in expired]
    catalog.target.delete(entry.key for entry in changes)
    before = time.time() - GRACE_SECONDS
    unused = [
        entry
        for entry in catalog.target.list(OBJECTS)
        if entry.key.rpartition("/")[2] not in needed and entry.modified < before
    ]
    catalog.target.delete(entry.key for entry in unused)
    result.objects, result.bytes = len(unused), sum(entry.size for entry in unused)
    return result


def _is_good(catalog: BackupCatalog, name: str) -> bool:
    try:
        catalog.read(name)
    except BadBackup:
        return False
    return True


def _age_days(catalog: BackupCatalog, name: str) -> float:
    try:
        created_at = catalog.read(name).created_at
    except BadBackup:  # of no use, and no harm
        return 0.0
    return (time.time() - created_at) / 86_400
