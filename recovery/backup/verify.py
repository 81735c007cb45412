"""Verify a backup: every hash, the rows of every table, and what the voices need."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import orjson

from recovery.backup.catalog import BackupCatalog
from recovery.backup.changes import read_batches
from recovery.backup.manifest import STORAGE, BackupManifest, FileEntry
from recovery.backup.objects import ObjectStore
from recovery.backup.signatures import BadBackup
from recovery.backup.stored_keys import storage_keys_of


@dataclass(slots=True)
class VerificationResult:
    """What a backup holds, and what is wrong with it."""

    name: str
    files: int = 0
    rows: int = 0
    voices: int = 0
    batches: int = 0
    problems: list[str] = field(default_factory=list)


def verify_backup(catalog: BackupCatalog, store: ObjectStore, name: str) -> VerificationResult:
    """Read every object of a backup and of the changes behind it; damage becomes a problem of the result.

    Raises:
        NotFound: there is no such backup.
        BadBackup: its manifest or its list of files cannot be used at all.
    """
    manifest = catalog.read(name)
    files = catalog.files(manifest, store)
    result = VerificationResult(name, files=len(files))
    _verify_records(manifest, files, store, result)
    for file in files:
        digest = hashlib.sha256()
        try:
            for data in store.get_all(file.parts):
                digest.update(data)
        except BadBackup as error:
            result.problems.append(f"{file.path}: {error.message}")
            continue
        if digest.hexdigest() != file.sha256:
            result.problems.append(f"{file.path}: its objects do not make the file with the SHA-256 {file.sha256}.")
    try:
        for _batch in read_batches(catalog, manifest.name):
            result.batches += 1
    except BadBackup as error:
        result.problems.append(error.message)
    return result


def _verify_records(
    manifest: BackupManifest, files: list[FileEntry], store: ObjectStore, result: VerificationResult
) -> None:
    present = {file.path for file in files} | {f"{STORAGE}/{key}" for key in manifest.missing}
    for table, entry in manifest.tables.items():
        rows = 0
        for item in entry.objects:
            try:
                lines = store.get_packed(item).splitlines()
            except BadBackup as error:
                result.problems.append(f"{table}: {error.message}")
                continue
            rows += len(lines)
            for line in lines:
                for key in storage_keys_of(table, orjson.loads(line)):
                    if f"{STORAGE}/{key}" not in present:
                        result.problems.append(f"{table}: a record names {key}, which the backup lacks.")
        if rows != entry.rows:
            result.problems.append(f"{table}: {rows:,} rows instead of {entry.rows:,}.")
        result.rows += rows
        result.voices += rows if table == "voices" else 0
