"""`main.py backup`: make, list, verify and delete backups, also while the daemon runs."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from core.errors import StorageUnavailable
from core.settings import Settings
from recovery.backup.catalog import BackupCatalog
from recovery.backup.changes import read_sync_mark
from recovery.backup.create import BackupMaker, megabytes
from recovery.backup.objects import ObjectStore
from recovery.backup.open_target import open_target
from recovery.backup.retention import prune
from recovery.backup.signatures import BackupSigner, BadBackup
from recovery.backup.steps import StepLog
from recovery.backup.verify import verify_backup


def run_backup_command(options: argparse.Namespace, settings: Settings) -> int:
    """Run one of the commands and return its exit code: 1 when something is wrong with a backup."""
    return _COMMANDS[options.backup_command](options, settings)


def _now(options: argparse.Namespace, settings: Settings) -> int:
    steps = StepLog(as_json=options.json)
    target = open_target(options.to or settings.backup_url)
    maker = BackupMaker(settings, target, steps, check_all=options.check_all, speak=not options.without_speech)
    manifest = maker.run()
    fields: dict[str, object] = {
        "backup": manifest.name,
        "target": target.name,
        "total_bytes": manifest.total_bytes,
        "bytes_sent": maker.store.bytes_written,
        "public_key": maker.signer.public_key,
    }
    steps.result(
        fields,
        f"{manifest.name}: {megabytes(manifest.total_bytes)} in {manifest.file_count:,} files; "
        f"{megabytes(maker.store.bytes_written)} sent to {target.name}.",
    )
    if options.prune:
        try:
            _prune(options, settings)
        except StorageUnavailable as error:  # the site may write there, but not delete
            steps.warn(f"Old backups stay: {error.message}")
    return 0


def _list(options: argparse.Namespace, settings: Settings) -> int:
    output = StepLog(as_json=options.json)
    catalog = _catalog(options, settings)
    names = catalog.names()
    if not names and not options.json:
        print(f"There are no backups in {catalog.target.name}.")
    damaged = False
    for name in names:
        try:
            manifest = catalog.read(name)
            mark = read_sync_mark(catalog, name)
        except BadBackup as error:
            damaged = True
            output.result({"backup": name, "ok": False, "problem": error.message}, f"{name}  DAMAGED: {error.message}")
            continue
        until = mark.at if mark is not None else manifest.created_at
        fields: dict[str, object] = {
            "backup": name,
            "ok": True,
            "created_at": manifest.created_at,
            "complete_until": until,
            "version": manifest.environment.code,
            "site": manifest.site,
            "files": manifest.file_count,
            "bytes": manifest.total_bytes,
            "voices": len(manifest.releases),
        }
        shown = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(until))
        output.result(
            fields,
            f"{name}  {megabytes(manifest.total_bytes):>12}  {manifest.file_count:>7,} files  "
            f"{len(manifest.releases):>4} voices  {manifest.environment.code}  changes until {shown}",
        )
    return 1 if damaged else 0


def _verify(options: argparse.Namespace, settings: Settings) -> int:
    steps = StepLog(as_json=options.json)
    catalog = _catalog(options, settings)
    name = catalog.resolve(options.name)
    store = ObjectStore(catalog.target, mbit_per_second=settings.backup_mbit_per_second)
    with steps.step("verify") as step:
        result = verify_backup(catalog, store, name)
        step.ok = not result.problems
        step.detail = (
            f"{name}: {result.files:,} files, {result.rows:,} rows, {result.voices} voices, "
            f"{result.batches} batches of changes"
        )
    for problem in result.problems:
        steps.warn(problem)
    verdict = "good" if not result.problems else f"{len(result.problems)} problems"
    steps.result(
        {"backup": name, "ok": not result.problems, "problems": result.problems, "voices": result.voices},
        f"{name}: {verdict}.",
    )
    return 1 if result.problems else 0


def _prune(options: argparse.Namespace, settings: Settings) -> int:
    steps = StepLog(as_json=options.json)
    catalog = _catalog(options, settings)
    with steps.step("prune") as step:
        result = prune(
            catalog,
            ObjectStore(catalog.target),
            keep_days=settings.backup_keep_days,
            keep_count=settings.backup_keep_count,
        )
        step.detail = f"deleted {len(result.backups)} backups and {result.objects:,} objects, {megabytes(result.bytes)}"
    for name in result.backups:
        steps.result({"deleted": name}, f"  deleted {name}")
    return 0


def _catalog(options: argparse.Namespace, settings: Settings) -> BackupCatalog:
    url = getattr(options, "source", "") or getattr(options, "to", "") or settings.backup_url
    return BackupCatalog(open_target(url), BackupSigner.of(settings))


_COMMANDS: dict[str, Callable[[argparse.Namespace, Settings], int]] = {
    "now": _now,
    "list": _list,
    "verify": _verify,
    "prune": _prune,
}
