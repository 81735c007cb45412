"""Changes of the records between two backups: batches that follow a backup in order, with the files they need."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import orjson
from pydantic import BaseModel, ValidationError
from sqlalchemy import Table, and_, delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.program_name import program_name
from common.storage_keys import experiment_folder, voice_folder
from core.primary_lease import PrimaryLease
from core.records.database import Database
from core.records.database_url import is_sqlite
from core.records.tables import record_changes
from core.settings import Settings
from recovery.backup.catalog import BackupCatalog
from recovery.backup.local_state import Chain, Chains, LocalState, ReadFile
from recovery.backup.manifest import ChangeBatch, ChangedRow, FileEntry
from recovery.backup.names import CHANGES, changes_key
from recovery.backup.objects import ObjectStore
from recovery.backup.records_export import Row, plain_row, reflect_tables, schema_revision
from recovery.backup.signatures import BackupSigner, BadBackup
from recovery.backup.sources import SourceFile, storage_file, storage_files
from recovery.backup.stored_keys import storage_keys_of
from recovery.backup.target import BackupTarget

MAX_ROWS: Final = 2000
"""Of a batch; the rest goes into the next one."""
CONCURRENT_FILES: Final = 8
_ENDED_STAGES: Final = ("completed", "failed", "cancelled")
"""Statuses after which the files of a stage are complete."""


class SyncMark(BaseModel):
    """Until when everything that changed is in the target."""

    at: float
    number: int


class ChangeShipper:
    """Sends what changed since the last batch; one for each site."""

    def __init__(self, settings: Settings, target: BackupTarget) -> None:
        self.settings = settings
        self.target = target
        self.state = LocalState.of(settings)
        self.signer = BackupSigner.of(settings)
        self.store = ObjectStore(target, mbit_per_second=settings.backup_mbit_per_second)
        self._lease = PrimaryLease.of(settings)
        self._read: dict[str, ReadFile] = {}
        self._revision = ""
        self._tables: dict[str, Table] = {}
        """As they are at that revision."""

    def ship(self) -> int:
        """Send all changes and return the number of rows; blocks. Without a backup to follow, nothing is sent."""
        if self._lease is not None:
            self._lease.check()
        with self.state.chain_lock(wait=False) as locked:
            if not locked:  # a backup is beginning; the next call comes soon
                return 0
            chains = self.state.chains()
            if not chains.active():
                return 0
            total = 0
            while True:
                started = time.time()
                count = asyncio.run(self._ship_batch(chains))
                total += count
                if count < MAX_ROWS:
                    break
            self._mark(chains, started)
        return total

    async def _ship_batch(self, chains: Chains) -> int:
        """Send one batch; return its number of rows."""
        database = Database(self.settings.resolved_database_url)
        try:
            async with self._one_state(database) as connection:
                pending = (
                    await connection.execute(select(record_changes).order_by(record_changes.c.number).limit(MAX_ROWS))
                ).all()
                if not pending:
                    return 0
                revision = await schema_revision(connection)
                if revision != self._revision:
                    self._revision, self._tables = revision, await reflect_tables(connection)
                keys = [(row.table_name, orjson.loads(row.row_key)) for row in pending]
                rows = await self._rows(connection, keys)
            files = self._store_files(rows)
            for chain in chains.active():
                self._write(chain, rows, files, revision)
            self.state.write_chains(chains)
            await self._forget(database, [row.number for row in pending])
        finally:
            await database.close()
        return len(pending)

    @contextlib.asynccontextmanager
    async def _one_state(self, database: Database) -> AsyncIterator[AsyncConnection]:
        """Open a transaction in which the change table and the rows that it names are of one moment."""
        if not is_sqlite(database.url):
            async with database.write() as connection:
                await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
                yield connection
            return
        async with database.read() as connection:
            await connection.exec_driver_sql("BEGIN")
            try:
                yield connection
            finally:
                await connection.exec_driver_sql("COMMIT")

    async def _rows(self, connection: AsyncConnection, keys: list[tuple[str, list[str | int]]]) -> list[ChangedRow]:
        """Return the present state of rows, in the order in which they changed last."""
        present: dict[tuple[str, bytes], Row] = {}
        by_table: dict[str, list[list[str | int]]] = defaultdict(list)
        for name, key in keys:
            by_table[name].append(key)
        for name, table_keys in by_table.items():
            columns = list(self._tables[name].primary_key)
            for key in table_keys:
                same_key = and_(*(column == value for column, value in zip(columns, key, strict=True)))
                record = (await connection.execute(select(self._tables[name]).where(same_key))).first()
                if record is not None:
                    present[name, orjson.dumps(key)] = plain_row(name, record)
        return [ChangedRow(table=name, key=key, row=present.get((name, orjson.dumps(key)))) for name, key in keys]

    def _store_files(self, rows: list[ChangedRow]) -> list[FileEntry]:
        """Write the files that changed rows name and that were not written since this process began."""
        with ThreadPoolExecutor(CONCURRENT_FILES) as pool:  # they wait for the disk or the network
            entries = list(pool.map(self._store_file, self._sources(rows)))
        return [entry for entry in entries if entry is not None]

    def _store_file(self, source: SourceFile) -> FileEntry | None:
        file = self._read.get(source.path)
        if file is None or file.stamp != source.stamp:
            try:
                file = ReadFile(stamp=source.stamp, entry=self.store.put_file(source.path, source.chunks()))
            except FileNotFoundError:  # deleted meanwhile, and its row soon
                return None
            self._read[source.path] = file
        return file.entry

    def _sources(self, rows: list[ChangedRow]) -> Iterator[SourceFile]:
        folders: set[str] = set()
        for item in rows:
            if item.row is None:
                continue
            for key in storage_keys_of(item.table, item.row):
                if (source := storage_file(self.settings, key)) is not None:
                    yield source
            if item.table == "voices":
                folders.add(voice_folder(str(item.row["id"])))
            elif item.table == "stages" and item.row["status"] in _ENDED_STAGES:
                folders.add(experiment_folder(str(item.row["exp_id"])))
        for folder in sorted(folders):
            yield from storage_files(self.settings, folder)

    def _write(self, chain: Chain, rows: list[ChangedRow], files: list[FileEntry], revision: str) -> None:
        """Append a batch to a chain."""
        number = chain.number + 1
        batch = ChangeBatch(
            backup=chain.backup,
            number=number,
            previous=chain.previous,
            created_at=time.time(),
            schema_revision=revision,
            rows=rows,
            files=files,
        )
        content = self.signer.sign(batch.model_dump_json())
        key = changes_key(chain.backup, number)
        if not self.target.create(key, content):
            # Written before this process was interrupted: it stays, and what has changed until now comes behind it.
            content = self.target.read(key)
            self.signer.check(content, key)
            chain.number, chain.previous = number, hashlib.sha256(content).hexdigest()
            self._write(chain, rows, files, revision)
            return
        if self.target.read(key) != content:
            raise BadBackup(f"{self.target.name} does not return what was written to it ({key}).")
        chain.number, chain.previous = number, hashlib.sha256(content).hexdigest()

    async def _forget(self, database: Database, numbers: list[int]) -> None:
        """Delete what was sent from the change table; rows that changed again have other numbers."""
        condition = record_changes.c.number.in_(numbers)
        if not is_sqlite(database.url):
            # Not those that a transaction is just changing, which would deadlock with it; they are sent once more.
            free = select(record_changes.c.number).where(condition).with_for_update(skip_locked=True)
            condition = record_changes.c.number.in_(free.scalar_subquery())
        async with database.write() as connection:
            await connection.execute(delete(record_changes).where(condition))

    def _mark(self, chains: Chains, at: float) -> None:
        for chain in chains.active():
            mark = SyncMark(at=at, number=chain.number)
            self.target.write(sync_key(chain.backup), self.signer.sign(mark.model_dump_json()))
        if chains.current is not None:  # else they follow a backup that does not count yet
            self.state.change_status(shipped_at=at)


def sync_key(name: str) -> str:
    """Return the key of the object that says until when a backup's changes are complete."""
    return f"{CHANGES}/{name}/synchronized"


def read_sync_mark(catalog: BackupCatalog, name: str) -> SyncMark | None:
    """Return until when the changes behind a backup are complete; None when none were sent."""
    try:
        content = catalog.target.read(sync_key(name))
    except FileNotFoundError:
        return None
    return SyncMark.model_validate_json(catalog.signer.check(content, f"The state of {name}"))


def read_batches(catalog: BackupCatalog, name: str, *, after: int = 0, previous: str = "") -> Iterator[ChangeBatch]:
    """Yield the batches of changes behind a backup, in order.

    Raises:
        BadBackup: one is damaged, missing between two others, or belongs elsewhere.
    """
    numbers = sorted(
        int(stem)
        for entry in catalog.target.list(f"{CHANGES}/{name}")
        if (stem := entry.key.rpartition("/")[2].removesuffix(".json")).isdecimal()
    )
    for number in (number for number in numbers if number > after):
        title = f"Batch {number} of the changes after {name}"
        if number != after + 1:
            raise BadBackup(f"Batch {after + 1} of the changes after {name} is missing.", hint=_HINT)
        content = catalog.target.read(changes_key(name, number))
        try:
            batch = ChangeBatch.model_validate_json(catalog.signer.check(content, title))
        except ValidationError as error:
            raise BadBackup(f"{title} cannot be used: {error.errors()[0]['msg']}.", hint=_HINT) from None
        if (batch.backup, batch.number, batch.previous) != (name, number, previous):
            raise BadBackup(f"{title} does not follow the one before it.", hint=_HINT)
        yield batch
        after, previous = number, hashlib.sha256(content).hexdigest()


_HINT: Final = (
    f"`{program_name()} restore … --changes-until NUMBER` restores what is before it; what came later is lost."
)
