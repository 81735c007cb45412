"""A site with records and files, whose backups are made and restored by the commands' own code."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from core.records import NewFileRecord, Records, upgrade
from core.settings import Settings, read_settings
from core.storage import open_storage
from recovery.backup.catalog import BackupCatalog
from recovery.backup.changes import ChangeShipper
from recovery.backup.create import BackupMaker
from recovery.backup.manifest import BackupManifest
from recovery.backup.objects import ObjectStore
from recovery.backup.open_target import open_target
from recovery.backup.restore import RestoreMarker, RestoreOptions, Restorer
from recovery.backup.signatures import BackupSigner
from recovery.backup.steps import StepLog

REPOSITORY = Path(__file__).resolve().parents[1]


class Site:
    """A data folder with a database, and the target of its backups."""

    retry_seconds = 1.0
    """How long a request to the target is repeated, and waits for a response."""

    def __init__(self, folder: Path, target: str, database_url: str = "", **settings: object) -> None:
        self.settings: Settings = read_settings(
            data_path=folder, backup_url=target, database_url=database_url, **settings
        )
        self.url = self.settings.resolved_database_url
        self.lines: list[str] = []

    def open(self) -> Site:
        """Create the tables, as a start does."""
        upgrade(self.url)
        return self

    def add_file(self, name: str, content: bytes) -> None:
        """Store an upload as the API does: the bytes, then the record."""
        open_storage(self.settings).put_bytes(f"files/{name}", content)

        async def insert() -> None:
            records = Records.from_settings(self.settings)
            await records.files.create(
                NewFileRecord(
                    id=name,
                    filename=f"{name}.wav",
                    purpose="training",
                    size_bytes=len(content),
                    sha256=hashlib.sha256(content).hexdigest(),
                    media_type="audio/wav",
                )
            )
            await records.close()

        asyncio.run(insert())

    def delete_file(self, name: str) -> None:
        async def delete() -> None:
            records = Records.from_settings(self.settings)
            await records.files.delete(name)
            await records.close()

        asyncio.run(delete())

    def files(self) -> dict[str, bytes]:
        """Return the content of every recorded upload, by id, read from storage."""

        async def read() -> list[str]:
            records = Records.from_settings(self.settings)
            page = await records.files.page(500)
            await records.close()
            return [record.id for record in page.items]

        storage = open_storage(self.settings)
        return {name: storage.path(f"files/{name}").read_bytes() for name in asyncio.run(read())}

    def back_up(self, *, check_all: bool = False) -> BackupManifest:
        maker = BackupMaker(self.settings, self.target, self.steps, check_all=check_all, speak=False)
        manifest = maker.run()
        self.bytes_written = maker.store.bytes_written
        return manifest

    def ship(self) -> int:
        return ChangeShipper(self.settings, self.target).ship()

    def restore(self, name: str = "latest", **options: object) -> RestoreMarker:
        restore_options = RestoreOptions(speak=False, **options)  # type: ignore[arg-type]
        return Restorer(self.settings, self.target, self.steps, restore_options).run(name)

    @property
    def steps(self) -> StepLog:
        return StepLog(emit=self.lines.append)

    @property
    def target(self):  # type: ignore[no-untyped-def]
        return open_target(self.settings.backup_url, retry_seconds=self.retry_seconds)

    @property
    def catalog(self) -> BackupCatalog:
        return BackupCatalog(self.target, BackupSigner.of(self.settings))

    @property
    def store(self) -> ObjectStore:
        return ObjectStore(self.target)

    def integrity(self) -> str:
        """Return what SQLite says of the file's integrity."""
        with sqlite3.connect(self.settings.database_file) as connection:
            return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def start_main(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, str(REPOSITORY / "main.py"), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
