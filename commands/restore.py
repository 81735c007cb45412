"""`main.py restore`: a backup into an empty data folder, on a host with nothing but Python and the code."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from common.program_name import program_name
from core.settings import Settings
from recovery.backup.archive import unpack_archive
from recovery.backup.names import LATEST
from recovery.backup.open_target import open_target
from recovery.backup.restore import RestoreOptions, Restorer
from recovery.backup.steps import StepLog
from recovery.backup.target import BackupTarget, FolderTarget


def run_restore_command(options: argparse.Namespace, settings: Settings) -> int:
    """Restore a backup into `--data-path` and check it; return the exit code."""
    folder = Path(options.data_path).expanduser().absolute()
    settings = settings.model_copy(update={"data_path": folder})
    archive = Path(options.source).expanduser() if options.source.endswith(".tar.gz") else None
    if archive is None:
        return _restore(options, settings, open_target(options.source or settings.backup_url), options.name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=folder.parent) as unpacked:
        name = unpack_archive(archive, Path(unpacked))
        return _restore(
            options, settings, FolderTarget(Path(unpacked)), name if options.name == LATEST else options.name
        )


def _restore(options: argparse.Namespace, settings: Settings, target: BackupTarget, name: str) -> int:
    steps = StepLog(as_json=options.json)
    restore_options = RestoreOptions(
        force=options.force,
        accept_difference=options.accept_difference,
        speak=not options.without_speech,
        changes_until=options.changes_until,
    )
    started = time.perf_counter()
    marker = Restorer(settings, target, steps, restore_options).run(name)
    seconds = round(time.perf_counter() - started, 1)
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(marker.complete_until))
    steps.result(
        {
            "ready": True,
            "backup": marker.backup,
            "complete_until": marker.complete_until,
            "seconds": seconds,
            "data_path": str(settings.data_path),
        },
        f"Ready in {seconds:g} s: {settings.data_path} holds {marker.backup} with all changes until {until}.\n"
        f"Start it: DATA_PATH={settings.data_path} {program_name()}",
    )
    return 0
