"""How long a backup and a recovery take: `scripts/bench standby [--megabytes 2000] [--changes 500] [--json FILE]`.

The target is a folder, or with `--bucket` an S3 server of this host. The content cannot be compressed.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks.chaos.bucket_server import BucketServer
from benchmarks.report import Row, report
from core.records import NewFileRecord, Records, upgrade
from core.settings import Settings, read_settings
from core.storage import open_storage
from recovery.backup.changes import ChangeShipper
from recovery.backup.create import BackupMaker
from recovery.backup.open_target import open_target
from recovery.backup.restore import RestoreOptions, Restorer
from recovery.backup.steps import StepLog

FILE_BYTES: Final = 16 << 20
GOALS: Final = {"recovery": 60.0, "changes": 5.0, "unchanged backup": 60.0, "first backup": 300.0}
"""Seconds."""


def main() -> None:
    """Make a site, back it up, change it, and restore it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--changes", type=int, default=500)
    parser.add_argument("--bucket", action="store_true", help="back up to an S3 server of this host")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sovitsd-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        target = str(folder / "target")
        if options.bucket:
            target = stack.enter_context(BucketServer()).new_bucket("backups")
        rows = measure(folder, target, options.megabytes, options.changes)
    report("standby", rows, options.json)


def measure(folder: Path, backup_url: str, megabytes: int, changes: int) -> list[Row]:
    """Return the seconds of each part beside its goal."""
    settings = read_settings(data_path=folder / "main", backup_url=backup_url)
    upgrade(settings.resolved_database_url)
    count = max(1, megabytes * 1_000_000 // FILE_BYTES)
    asyncio.run(_add(settings, count, FILE_BYTES, "big"))
    target = open_target(settings.backup_url)
    silent = StepLog(emit=lambda line: None)
    seconds = {"first backup": _time(lambda: BackupMaker(settings, target, silent, speak=False).run())}
    seconds["unchanged backup"] = _time(lambda: BackupMaker(settings, target, silent, speak=False).run())
    asyncio.run(_add(settings, changes, 1000, "small"))
    seconds["changes"] = _time(ChangeShipper(settings, target).ship)
    standby = settings.model_copy(update={"data_path": folder / "standby"})
    options = RestoreOptions(speak=False)
    seconds["recovery"] = _time(lambda: Restorer(standby, target, silent, options).run("latest"))
    size = f"{count * FILE_BYTES / 1e6:,.0f} MB"
    return [
        Row(f"{name}, {size}", "s", round(value, 2), "goal", GOALS[name], GOALS[name] / value)
        for name, value in seconds.items()
    ]


async def _add(settings: Settings, count: int, size: int, name: str) -> None:
    storage, records = open_storage(settings), Records.from_settings(settings)
    for number in range(count):
        content = os.urandom(size)
        file_id = f"file-{name}-{number}"
        storage.put_bytes(f"files/{file_id}", content)
        await records.files.create(
            NewFileRecord(
                id=file_id,
                filename=f"{file_id}.wav",
                purpose="training",
                size_bytes=size,
                sha256=hashlib.sha256(content).hexdigest(),
                media_type="audio/wav",
            )
        )
    await records.close()


def _time(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
