"""`main.py registry`: the release id of every voice, and whether it is that of a backup."""

from __future__ import annotations

import argparse
import asyncio

from core.records import Records, upgrade
from core.settings import Settings
from core.storage import open_storage
from recovery.backup.catalog import BackupCatalog
from recovery.backup.manifest import Release
from recovery.backup.open_target import open_target
from recovery.backup.release_ids import ReleaseRegistry, compare_releases
from recovery.backup.signatures import BackupSigner
from recovery.backup.steps import StepLog


def run_registry_command(options: argparse.Namespace, settings: Settings) -> int:
    """Show the releases, or compare them with those of a backup; return 1 when something differs."""
    output = StepLog(as_json=options.json)
    releases, problems = asyncio.run(_releases(settings))
    for problem in problems:
        output.warn(problem)
    if options.registry_command == "show":
        for release in releases:
            output.result(release.model_dump(), f"{release.id}  {release.name}")
        return 0
    catalog = BackupCatalog(open_target(options.source or settings.backup_url), BackupSigner.of(settings))
    manifest = catalog.read(catalog.resolve(options.name))
    differences = [str(difference) for difference in compare_releases(manifest.releases, releases)]
    for difference in differences:
        output.result({"difference": difference}, difference)
    if not differences:
        output.result({"ok": True}, f"{len(manifest.releases)} voices are as in {manifest.name}.")
    return 1 if differences or problems else 0


async def _releases(settings: Settings) -> tuple[list[Release], list[str]]:
    await asyncio.to_thread(upgrade, settings.resolved_database_url)
    records = Records.from_settings(settings)
    try:
        return await ReleaseRegistry(settings).releases(records, open_storage(settings))
    finally:
        await records.close()
