"""Restore a backup, with the changes behind it, into an empty data folder; what is there already is not fetched."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
from pydantic import BaseModel, ValidationError

from common.files import sha256_of_file, sync, write_atomically
from common.operating_system import lock_file
from core.encryption import KEY_FILE as SECRETS_KEY_FILE
from core.errors import Conflict
from core.host_control import supervisor_lock
from core.marks.content_credentials import CERTIFICATE_FILE
from core.marks.speech_marks import KEY_FILE as MARKS_KEY_FILE
from core.records.database_url import is_sqlite
from core.records.migrate import has_revision, newest_revision
from core.settings import Settings
from core.storage import open_storage
from recovery.backup.catalog import BackupCatalog
from recovery.backup.changes import read_batches
from recovery.backup.create import megabytes
from recovery.backup.local_state import LocalState
from recovery.backup.manifest import MODELS, STORAGE, BackupManifest, ChangeBatch, FileEntry
from recovery.backup.objects import ObjectStore
from recovery.backup.records_export import write_rows
from recovery.backup.scratch_records import ScratchRecords, fill_database
from recovery.backup.signatures import KEY_FILE as SIGNING_KEY_FILE
from recovery.backup.signatures import BackupSigner, BadBackup
from recovery.backup.site_check import SiteCheck
from recovery.backup.steps import StepLog
from recovery.backup.target import BackupTarget

MARKER: Final = "restore.json"
"""File in a data folder that a restore fills or has filled: another one may go on there."""
WORK_FOLDER: Final = ".restore"
KEY_FILES: Final = (SIGNING_KEY_FILE, SECRETS_KEY_FILE, MARKS_KEY_FILE, CERTIFICATE_FILE)
OWN_ENTRIES: Final = frozenset((MARKER, WORK_FOLDER, "standby", "backup", "run", *KEY_FILES))
"""What may be in a folder that counts as empty."""


class RestoreMarker(BaseModel):
    """What a data folder was filled from."""

    backup: str
    site: str
    batches: int = 0
    created_at: float
    """Of the backup."""
    complete_until: float = 0.0
    """Of the newest change."""
    finished_at: float | None = None
    files: dict[str, tuple[int, int, str]] = {}
    """Path → size, time of change in ns and SHA-256 of files that were verified."""


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """How a backup is restored."""

    force: bool = False
    """Into a folder that is not empty; what it had is moved aside."""
    in_place: bool = False
    """Over a site that is to become the one that was backed up: its files are replaced where they differ, its records
    are kept beside the new ones."""
    live: bool = False
    """In place, while a service reads that may not write."""
    accept_difference: bool = False
    """Although keys are missing, or voices would sound different."""
    speak: bool = True
    changes_until: int | None = None
    """Number of the last batch of changes to apply."""


class Restorer:
    """Restores backups of one target into the data folder of the settings."""

    def __init__(
        self, settings: Settings, target: BackupTarget, steps: StepLog, options: RestoreOptions | None = None
    ) -> None:
        self.settings = settings
        self.steps = steps
        self.options = options or RestoreOptions()
        self.store = ObjectStore(target, mbit_per_second=settings.backup_mbit_per_second)
        self.catalog = BackupCatalog(target, BackupSigner.of(settings))
        self._work = settings.data_path / WORK_FOLDER
        self._marker_path = settings.data_path / MARKER

    def run(self, name: str) -> RestoreMarker:
        """Restore a backup and check that it speaks; return what the folder holds now.

        Raises:
            NotFound: there is no such backup.
            BadBackup: it is damaged, or of a newer schema.
            Conflict: the folder is not empty, or a daemon runs on it.
            SiteDiffers: keys are missing, or a voice sounds different.
        """
        with self.steps.step("manifest") as step:
            manifest = self._read_manifest(self.catalog.resolve(name))
            batches = self._batches(manifest)
            step.detail = f"{manifest.name} of {manifest.site}, {len(batches)} batches of changes"
        with nullcontext() if self.options.live else self._folder_lock():
            self._check_folder()
            marker = self._restore_content(manifest, batches)
            check = SiteCheck(self.settings, self.steps, accept_difference=self.options.accept_difference)
            check.run(manifest, batches, speak=self.options.speak)
            return self._finish(marker)

    def refresh(self, name: str) -> RestoreMarker:
        """Bring what a restore left to the state of a backup, without a check of the voices; raises as `run`."""
        manifest, batches = self.read_newest(name)
        marker = self.read_marker()
        present = (marker.backup, marker.batches) if marker is not None and marker.finished_at is not None else None
        if marker is not None and present == (manifest.name, last_number(batches)):
            return marker
        return self._finish(self._restore_content(manifest, batches))

    def prefetch(self, manifest: BackupManifest, batches: list[ChangeBatch]) -> RestoreMarker:
        """Fetch the files of a backup and of the changes behind it that are not there; return the marker."""
        self.settings.data_path.mkdir(mode=0o700, parents=True, exist_ok=True)
        marker = self.read_marker() or RestoreMarker(
            backup=manifest.name, site=manifest.site, created_at=manifest.created_at
        )
        marker.finished_at = None
        self._write_marker(marker)
        with self.steps.step("files") as step:
            files = {file.path: file for file in self.catalog.files(manifest, self.store)}
            for batch in batches:
                files |= {file.path: file for file in batch.files}
            fetched, count = 0, 0
            try:
                for file in files.values():
                    if self._restore_file(file, marker):
                        fetched, count = fetched + file.size, count + 1
            finally:
                self._write_marker(marker)
            step.detail = f"{len(files):,} files, {count:,} of them fetched, {megabytes(fetched)}"
        return marker

    def _restore_content(self, manifest: BackupManifest, batches: list[ChangeBatch]) -> RestoreMarker:
        """Fetch the files, replace the records and return the marker, which is not written yet."""
        marker = self.prefetch(manifest, batches)
        with self.steps.step("records") as step:
            step.detail = self._restore_records(manifest, batches)
        marker.backup, marker.site, marker.created_at = manifest.name, manifest.site, manifest.created_at
        marker.batches = last_number(batches)
        marker.complete_until = batches[-1].created_at if batches else manifest.created_at
        return marker

    def _finish(self, marker: RestoreMarker) -> RestoreMarker:
        marker.finished_at = time.time()
        self._write_marker(marker)
        return marker

    def read_newest(self, name: str) -> tuple[BackupManifest, list[ChangeBatch]]:
        """Return a backup's manifest and the changes behind it; raises as `run`."""
        manifest = self._read_manifest(self.catalog.resolve(name))
        return manifest, self._batches(manifest)

    def read_marker(self) -> RestoreMarker | None:
        """Return what the folder was filled from; None when no restore began there."""
        try:
            return RestoreMarker.model_validate_json(self._marker_path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def _read_manifest(self, name: str) -> BackupManifest:
        manifest = self.catalog.read(name)
        revision = manifest.environment.schema_revision
        if not has_revision(revision):
            raise BadBackup(
                f"{name} has the schema {revision}, which is newer than {newest_revision()} of this code.",
                hint=f"Install the version that made it: {manifest.environment.code}.",
            )
        return manifest

    def _batches(self, manifest: BackupManifest) -> list[ChangeBatch]:
        until = self.options.changes_until
        if until == 0:
            return []
        batches = []
        for batch in read_batches(self.catalog, manifest.name):
            if not has_revision(batch.schema_revision):
                raise BadBackup(f"The changes behind {manifest.name} have a newer schema, {batch.schema_revision}.")
            batches.append(batch)
            if batch.number == until:
                break
        return batches

    @contextmanager
    def _folder_lock(self) -> Iterator[None]:
        """Keep daemons and other restores off the folder; raise Conflict when there is one."""
        lock = supervisor_lock(self.settings.data_path)
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with lock.open("a+") as file:
            try:
                lock_file(file, wait=False)
            except BlockingIOError:
                raise Conflict(
                    f"A sovitsd or another restore works in {self.settings.data_path}.",
                    hint="Stop it, or name another folder with --data-path.",
                ) from None
            yield

    def _check_folder(self) -> None:
        """Raise Conflict when the folder has content that no restore put there, unless it is to be moved aside."""
        if self.options.in_place or self.options.live:
            return
        folder = self.settings.data_path
        others = sorted(entry.name for entry in folder.iterdir() if entry.name not in OWN_ENTRIES)
        marker = self.read_marker()
        if not others or (marker is not None and not self._was_used_since(marker)):
            return
        if not self.options.force:
            raise Conflict(
                f"{folder} is not empty: it has {', '.join(others[:3])}{' …' if len(others) > 3 else ''}.",
                hint="Name an empty folder, or add --force, which moves what is there aside.",
            )
        aside = folder / f".before-restore-{time.strftime('%Y%m%d-%H%M%S')}"
        aside.mkdir(mode=0o700)
        for name in others:
            if not name.startswith(".before-restore-"):
                os.rename(folder / name, aside / name)
        self.steps.warn(f"What was in {folder} is in {aside} now.")

    def _was_used_since(self, marker: RestoreMarker) -> bool:
        """Return whether a service has written to the records that a restore left there."""
        paths = (Path(f"{self.settings.database_file}{ending}") for ending in ("", "-wal"))
        return marker.finished_at is not None and any(
            path.stat().st_mtime > marker.finished_at for path in paths if path.exists() and path.stat().st_size
        )

    def _restore_file(self, file: FileEntry, marker: RestoreMarker) -> bool:
        """Make sure that a file is there with the right bytes; return whether it had to be fetched."""
        folder, _, below = file.path.partition("/")
        if folder == STORAGE and self.settings.storage_is_bucket:
            return self._restore_to_bucket(file, below)
        roots = {STORAGE: self.settings.storage_root, MODELS: self.settings.models_folder}
        path = roots.get(folder, self.settings.data_path / folder) / below
        if self._is_there(path, file, marker):
            return False
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.restore.tmp")
        self._fetch(file, temporary)
        os.replace(temporary, path)
        _remember(marker, file, path)
        return True

    def _is_there(self, path: Path, file: FileEntry, marker: RestoreMarker) -> bool:
        with suppress(FileNotFoundError):
            stat = path.stat()
            if marker.files.get(file.path) == (stat.st_size, stat.st_mtime_ns, file.sha256):
                return True
            if stat.st_size == file.size and sha256_of_file(path) == file.sha256:
                _remember(marker, file, path)
                return True
        return False

    def _restore_to_bucket(self, file: FileEntry, key: str) -> bool:
        storage = open_storage(self.settings)
        path = storage.path(key)
        if path.is_file() and sha256_of_file(path) == file.sha256:
            return False
        with storage.temporary_file() as temporary:
            self._fetch(file, temporary)
            storage.publish(temporary, key)
        return True

    def _fetch(self, file: FileEntry, path: Path) -> None:
        """Write a file, going on behind the parts that an interrupted restore left there.

        Raises:
            BadBackup: an object is missing or damaged, or they do not make the file.
        """
        digest = hashlib.sha256()
        with path.open("r+b" if path.exists() else "w+b") as output:
            parts = list(file.parts)
            while parts:
                data = output.read(parts[0].size)
                if hashlib.sha256(data).hexdigest() != parts[0].sha256:
                    output.seek(-len(data), os.SEEK_CUR)
                    break
                digest.update(data)
                parts.pop(0)
            output.truncate()
            for data in self.store.get_all(parts):
                digest.update(data)
                output.write(data)
        if digest.hexdigest() != file.sha256:
            path.unlink()
            raise BadBackup(f"The objects of {file.path} do not make the file with the SHA-256 {file.sha256}.")
        sync(path)

    def _restore_records(self, manifest: BackupManifest, batches: list[ChangeBatch]) -> str:
        """Put the records into the database of the settings; return what was done."""
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(mode=0o700)
        scratch = ScratchRecords(self._work)
        try:
            revision = manifest.environment.schema_revision
            scratch.learn_keys(revision)
            for table, entry in manifest.tables.items():
                for item in entry.objects:
                    scratch.add_lines(table, self.store.get_packed(item))
            for batch in batches:
                if batch.schema_revision != revision:
                    scratch.migrate(revision, batch.schema_revision)
                    revision = batch.schema_revision
                scratch.apply(batch.rows)
            LocalState.of(self.settings).forget_chains()
            self._replace_records(scratch, revision)
        finally:
            scratch.close()
            shutil.rmtree(self._work, ignore_errors=True)
        rows = sum(entry.rows for entry in manifest.tables.values())
        changed = sum(len(batch.rows) for batch in batches)
        return f"{rows:,} rows and {changed:,} changes, schema {newest_revision()}"

    def _replace_records(self, scratch: ScratchRecords, revision: str) -> None:
        url = self.settings.resolved_database_url
        if is_sqlite(url) and not self.options.live:
            self._replace_file(scratch.write_file(revision))
            return
        if revision != newest_revision():
            scratch.migrate(revision, newest_revision())
        if self.options.in_place and not is_sqlite(url):
            asyncio.run(write_rows(url, self._aside("records.jsonl.gz")))
        if self.options.in_place or self.options.live:
            asyncio.run(scratch.replace_rows(url))
        else:
            asyncio.run(fill_database(url, scratch))

    def _replace_file(self, path: Path) -> None:
        """Put a database file in its place; an older one is kept beside it."""
        place = self.settings.database_file
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if place.exists():
            aside = place.with_name(self._aside(place.name).name)
            for ending in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    os.rename(f"{place}{ending}", f"{aside}{ending}")
        sync(path)
        os.replace(path, place)
        sync(place.parent)

    def _aside(self, name: str) -> Path:
        """Return where in the data folder something from before this restore is kept."""
        return self.settings.data_path / f".before-restore-{time.strftime('%Y%m%d-%H%M%S')}-{name}"

    def _write_marker(self, marker: RestoreMarker) -> None:
        write_atomically(self._marker_path, orjson.dumps(marker.model_dump()))


def last_number(batches: Sequence[ChangeBatch]) -> int:
    """Return the number of the last batch of changes; 0 when there is none."""
    return batches[-1].number if batches else 0


def _remember(marker: RestoreMarker, file: FileEntry, path: Path) -> None:
    stat = path.stat()
    marker.files[file.path] = (stat.st_size, stat.st_mtime_ns, file.sha256)
