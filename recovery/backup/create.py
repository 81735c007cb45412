"""Make a backup while the service runs."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import orjson

from common.operating_system import host_name
from core.errors import NotFound, SovitsError
from core.jobs.queue import Queue
from core.jobs.queue_options import QueueOptions
from core.primary_lease import PrimaryLease
from core.records import Records
from core.records.migrate import newest_revision
from core.redis import connect, is_connection_error
from core.redis_server import find_redis_url
from core.settings import Settings
from core.storage import open_storage
from recovery.backup.archive import write_archive
from recovery.backup.catalog import BackupCatalog
from recovery.backup.local_state import Chain, Chains, LocalState, ManifestLogLine, ReadFile
from recovery.backup.manifest import (
    FILE_LIST,
    STORAGE,
    BackupManifest,
    FileEntry,
    QueueNote,
    Release,
    SpokenSentence,
    TableEntry,
)
from recovery.backup.names import LOG_KEY, backup_name, manifest_key
from recovery.backup.objects import ObjectStore
from recovery.backup.records_export import Row, export_table, reflect_tables, schema_revision, snapshot
from recovery.backup.release_ids import ReleaseRegistry, all_voices
from recovery.backup.signatures import BackupSigner, BadBackup
from recovery.backup.site_facts import describe_environment, key_fingerprints, public_settings
from recovery.backup.sources import site_files
from recovery.backup.spoken import SpeakingFailure, sentences_to_speak, speak_sentences
from recovery.backup.steps import StepLog
from recovery.backup.stored_keys import storage_keys_of
from recovery.backup.target import BackupTarget

QUEUE_SECONDS: Final = 2.0
"""How long the queue may take to say what it holds."""


@dataclass(slots=True)
class BackupContents:
    """What has been collected for a backup."""

    started: float
    name: str = ""
    revision: str = ""
    tables: dict[str, TableEntry] = field(default_factory=dict)
    files: list[FileEntry] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    releases: list[Release] = field(default_factory=list)
    spoken: list[SpokenSentence] = field(default_factory=list)


class BackupMaker:
    """Makes one backup of a site."""

    def __init__(
        self,
        settings: Settings,
        target: BackupTarget,
        steps: StepLog,
        *,
        check_all: bool = False,
        speak: bool = True,
        handing_over: bool = False,
    ) -> None:
        """Args:
        settings: of the site.
        target: where the backup goes.
        steps: tells of each step.
        check_all: whether what is there already is read back, too.
        speak: whether each new voice speaks its sentence.
        handing_over: whether writes wait because the site gives its records to another one.
        """
        self.settings = settings
        self.target = target
        self.steps = steps
        self.check_all = check_all
        self.speak = speak
        self._handing_over = handing_over
        self.store = ObjectStore(target, mbit_per_second=settings.backup_mbit_per_second)
        self.signer = BackupSigner.of(settings)
        self.catalog = BackupCatalog(target, self.signer)
        self.state = LocalState.of(settings)
        self._lease = PrimaryLease.of(settings)
        self._last: BackupManifest | None = None
        self._storage_keys: set[str] = set()
        self._voices_with_rows: set[str] = set()

    def run(self) -> BackupManifest:
        """Make a backup and return its manifest; one that was interrupted before is continued.

        Raises:
            Conflict: another one is running.
            StorageUnavailable, BadBackup: the target cannot be used, or does not return what was written.
        """
        started = time.time()
        if self._lease is not None:
            self._lease.check_newest(handing_over=self._handing_over)
        with self.state.backup_lock():
            try:
                manifest = self._run(started)
            except BaseException as error:
                self._forget_next_chain()
                reason = error.message if isinstance(error, SovitsError) else str(error) or type(error).__name__
                self.state.change_status(error=reason, failed_at=time.time())
                raise
            self.state.change_status(
                name=manifest.name,
                created_at=manifest.created_at,
                seconds=round(time.time() - started, 1),
                total_bytes=manifest.total_bytes,
                bytes_written=self.store.bytes_written,
                error="",
            )
            return manifest

    def _run(self, started: float) -> BackupManifest:
        contents = BackupContents(started)
        with self.steps.step("compare") as step:
            count = self._trust_last_backup()
            contents.name = self._free_name(started)
            step.detail = f"{count:,} objects are in {self.target.name} already"
        with self.state.chain_lock(wait=True):
            chains = self.state.chains()
            self.state.write_chains(chains.model_copy(update={"next": Chain(backup=contents.name)}))
        with self.steps.step("records") as step:
            contents.revision, contents.tables = asyncio.run(self._export_records())
            rows = sum(entry.rows for entry in contents.tables.values())
            step.detail = f"{len(contents.tables)} tables, {rows:,} rows, revision {contents.revision}"
        with self.steps.step("files") as step:
            contents.files = self._store_files()
            contents.missing = self._missing(contents.files)
            step.detail = (
                f"{len(contents.files):,} files, {megabytes(sum(file.size for file in contents.files))}; "
                f"sent {self.store.objects_written:,} objects, {megabytes(self.store.bytes_written)}"
            )
        for key in contents.missing:
            self.steps.warn(f"A record names {key}, which is not in storage.")
        with self.steps.step("registry") as step:
            if contents.revision == newest_revision():
                contents.releases, contents.spoken = asyncio.run(self._describe_voices())
            else:
                self.steps.warn(f"The records are of schema {contents.revision}: voices are noted once it is migrated.")
            step.detail = f"{len(contents.releases)} voices, {len(contents.spoken)} of them spoke"
        return self._publish(contents)

    def _publish(self, contents: BackupContents) -> BackupManifest:
        """Write the manifest, with which the backup counts, and what is made of it."""
        with self.steps.step("manifest") as step:
            manifest = self._manifest(contents)
            content = self.signer.sign(manifest.model_dump_json())
            self.target.write(manifest_key(manifest.name), content)
            self.catalog.read(manifest.name)  # signed, complete, and what was written
            step.detail = manifest.name
        sha256 = hashlib.sha256(content).hexdigest()
        if self.settings.backup_archive:
            with self.steps.step("archive") as step:
                sha256, size = write_archive(manifest, content, contents.files, self.store, self.state.folder)
                step.detail = f"{manifest.name}, {megabytes(size)}"
        self._append_log(manifest, sha256)
        with self.state.chain_lock(wait=True):
            self.state.write_chains(Chains(current=self.state.chains().next or Chain(backup=manifest.name)))
        return manifest

    def _trust_last_backup(self) -> int:
        """Take the objects of the newest good backup as good, unless all are to be checked; return how many."""
        with suppress(NotFound):
            for name in self.catalog.names()[:3]:
                try:
                    self._last = self.catalog.read(name)
                    objects = [] if self.check_all else list(self.catalog.objects(self._last, self.store))
                except BadBackup as error:
                    self.steps.warn(error.message)
                    continue
                self.store.trust(objects)
                return len({item.sha256 for item in objects})
        self.store.trust(())
        return 0

    def _free_name(self, started: float) -> str:
        """Return a name that no backup has: two may begin in one second."""
        names = set(self.catalog.names())
        candidates = (backup_name(started + second) for second in range(len(names) + 1))
        return next(name for name in candidates if name not in names)

    async def _export_records(self) -> tuple[str, dict[str, TableEntry]]:
        """Write all tables; return their revision and what they consist of."""
        packed: dict[str, list[tuple[int, bytes]]] = {}
        async with snapshot(self.settings.resolved_database_url, self.state.folder) as connection:
            revision = await schema_revision(connection)
            for name, table in (await reflect_tables(connection)).items():
                packed[name] = [entry async for entry in export_table(connection, table)]
        # The snapshot is given up before anything is sent, however slow that is.
        tables = {}
        for name, entries in packed.items():
            for _, lines in entries:
                self._note_rows(name, lines)
            tables[name] = TableEntry(
                rows=sum(count for count, _ in entries), objects=[self.store.put_packed(lines) for _, lines in entries]
            )
        return revision, tables

    def _note_rows(self, table: str, lines: bytes) -> None:
        for line in lines.splitlines():
            row: Row = orjson.loads(line)
            self._storage_keys.update(storage_keys_of(table, row))
            if table == "voices":
                self._voices_with_rows.add(str(row["id"]))

    def _store_files(self) -> list[FileEntry]:
        """Write the files that are not there; return all."""
        remembered = {} if self.check_all else self.state.read_files(self.target.name)
        read: dict[str, ReadFile] = {}
        try:
            for source in site_files(self.settings):
                file = remembered.get(source.path)
                if file is None or file.stamp != source.stamp or not all(map(self.store.has, file.entry.parts)):
                    try:
                        file = ReadFile(stamp=source.stamp, entry=self.store.put_file(source.path, source.chunks()))
                    except FileNotFoundError:
                        continue  # deleted meanwhile
                read[source.path] = file
        finally:
            self.state.write_files(self.target.name, {**remembered, **read})
        self.state.write_files(self.target.name, read)
        return [file.entry for file in read.values()]

    def _missing(self, files: list[FileEntry]) -> list[str]:
        """Return the keys that records name and that no file has."""
        paths = {file.path for file in files}
        return sorted(key for key in self._storage_keys if f"{STORAGE}/{key}" not in paths)

    async def _describe_voices(self) -> tuple[list[Release], list[SpokenSentence]]:
        """Return the releases of all voices of the records, and how those speak that were not heard before."""
        records = Records.from_settings(self.settings)
        storage = open_storage(self.settings)
        try:
            releases, problems = await ReleaseRegistry(self.settings).releases(records, storage)
            releases = [release for release in releases if release.voice_id in self._voices_with_rows]
            for problem in problems:
                self.steps.warn(problem)
            release_ids = {release.voice_id: release.id for release in releases}
            heard_before = {item.release_id: item for item in (self._last.spoken if self._last else ())}
            spoken = [heard_before[release.id] for release in releases if release.id in heard_before]
            silent = {release.voice_id for release in releases if release.id not in heard_before}
            if self.speak and silent:
                voices = [voice for voice in await all_voices(records) if voice.id in silent]
                requests = await sentences_to_speak(records, storage, voices)
                spoken += await asyncio.to_thread(lambda: list(self._let_speak(requests, release_ids)))
        finally:
            await records.close()
        return releases, spoken

    def _let_speak(self, requests: list[dict[str, object]], release_ids: dict[str, str]) -> Iterator[SpokenSentence]:
        for outcome in speak_sentences(self.settings, requests, release_ids):
            if isinstance(outcome, SpeakingFailure):
                self.steps.warn(f"The voice {outcome.voice_id} does not speak: {outcome.message}")
            else:
                yield outcome

    def _manifest(self, contents: BackupContents) -> BackupManifest:
        shown, secret = public_settings(self.settings)
        lease = self._lease.read() if self._lease is not None else None
        rows_bytes = sum(item.size for entry in contents.tables.values() for item in entry.objects)
        return BackupManifest(
            name=contents.name,
            site=host_name(),
            epoch=lease.epoch if lease is not None else 0,
            created_at=contents.started,
            environment=describe_environment(contents.revision),
            tables=contents.tables,
            files=self.store.put_packed(FILE_LIST.dump_json(contents.files)),
            file_count=len(contents.files),
            total_bytes=rows_bytes + sum(file.size for file in contents.files),
            settings=shown,
            secret_settings=secret,
            keys=key_fingerprints(self.settings),
            releases=contents.releases,
            spoken=contents.spoken,
            missing=contents.missing,
            not_included=QueueNote(counts=queue_counts(self.settings)),
        )

    def _append_log(self, manifest: BackupManifest, sha256: str) -> None:
        """Add the line of a backup to `manifest.log`."""
        try:
            before = self.target.read(LOG_KEY)
        except FileNotFoundError:
            before = b""
        line = ManifestLogLine(
            sha256=sha256,
            name=manifest.name,
            time=datetime.fromtimestamp(manifest.created_at, UTC).isoformat(timespec="seconds"),
            version=manifest.environment.code,
            bytes=manifest.total_bytes,
        )
        self.target.write(LOG_KEY, before + f"{line}\n".encode())

    def _forget_next_chain(self) -> None:
        with suppress(SovitsError), self.state.chain_lock(wait=True):
            self.state.write_chains(self.state.chains().model_copy(update={"next": None}))


def queue_counts(settings: Settings) -> dict[str, int]:
    """Return how many jobs wait and run, which no backup holds; nothing while the queue does not answer."""
    try:
        with connect(find_redis_url(settings), socket_seconds=QUEUE_SECONDS) as redis:
            return Queue(redis, QueueOptions.from_settings(settings)).depths()
    except SovitsError:
        return {}
    except Exception as error:
        if not is_connection_error(error):
            raise
        return {}


def megabytes(count: int) -> str:
    """Return a number of bytes for people."""
    return f"{count / 1e6:,.1f} MB"
