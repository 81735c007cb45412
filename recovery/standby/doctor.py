"""What would keep a standby from taking over, found before it has to."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from core.errors import SovitsError
from core.records.migrate import has_revision
from core.settings import Settings
from recovery.backup.catalog import BackupCatalog
from recovery.backup.changes import read_sync_mark
from recovery.backup.names import LATEST
from recovery.backup.open_target import open_target
from recovery.backup.signatures import BackupSigner
from recovery.backup.site_facts import KEY_SETTINGS, code_version, key_fingerprints
from recovery.standby.drill import MAX_BACKUP_HOURS
from recovery.standby.epochs import Epochs
from recovery.standby.site import DrillReport, StandbyFolder
from recovery.standby.switch import resolved_addresses

MAX_TTL: Final = 60
MAX_DRILL_DAYS: Final = 8.0


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was looked at."""

    name: str
    ok: bool
    detail: str


def examine_standby(settings: Settings) -> Iterator[Finding]:
    """Yield what was looked at, one after the other."""
    try:
        catalog = BackupCatalog(open_target(settings.backup_url), BackupSigner.of(settings))
        manifest = catalog.read(catalog.resolve(LATEST))
    except SovitsError as error:
        yield Finding("backup", False, error.sentences)
        return
    hours = (time.time() - manifest.created_at) / 3600
    yield Finding("backup", hours <= MAX_BACKUP_HOURS, f"{manifest.name}, {hours:.1f} hours old")
    mark = read_sync_mark(catalog, manifest.name)
    seconds = time.time() - (mark.at if mark is not None else manifest.created_at)
    yield Finding("changes", True, f"complete until {seconds:.0f} s ago")
    pinned = bool(settings.backup_public_keys)
    yield Finding("signature", pinned, "pinned" if pinned else "any key is believed: set BACKUP_PUBLIC_KEYS")
    present = key_fingerprints(settings)
    for name, expected in manifest.keys.items():
        ok = present.get(name) == expected
        yield Finding(f"{name} key", ok, "here" if ok else f"missing or another one: {KEY_SETTINGS[name]}")
    revision = manifest.environment.schema_revision
    yield Finding("schema", has_revision(revision), revision)
    same = manifest.environment.code == code_version()
    yield Finding("code", same, f"{code_version()} here, {manifest.environment.code} in the backup")
    free = shutil.disk_usage(settings.data_path if settings.data_path.exists() else settings.data_path.parent).free
    yield Finding(
        "disk", free > manifest.total_bytes, f"{free / 1e9:.1f} GB free, {manifest.total_bytes / 1e9:.1f} needed"
    )
    yield from _roles(settings)


def _roles(settings: Settings) -> Iterator[Finding]:
    ttl = settings.standby_dns_ttl
    yield Finding(
        "ttl", ttl <= MAX_TTL, f"{ttl} s" if ttl <= MAX_TTL else f"{ttl} s; set it to {MAX_TTL} or less before"
    )
    if settings.standby_dns_name:
        addresses = resolved_addresses(settings.standby_dns_name)
        yield Finding("name", bool(addresses), f"{settings.standby_dns_name} is {', '.join(addresses) or 'unknown'}")
    for setting in ("standby_dns_command", "standby_address", "standby_notify_url"):
        value = bool(getattr(settings, setting))
        yield Finding(setting.upper(), value, "set" if value else "not set")
    fenced = settings.fencing or bool(settings.standby_fence_command)
    yield Finding("fencing", fenced, "set" if fenced else "nothing keeps the main site from writing when it comes back")
    if settings.fencing:
        try:
            newest = Epochs.of(settings).newest()
        except SovitsError as error:
            yield Finding("epoch", False, error.message)
        else:
            yield Finding(
                "epoch", newest is not None, f"{newest.number}, {newest.host}" if newest else "no site has one"
            )
    drill = StandbyFolder(settings.data_path).read(DrillReport)
    days = (time.time() - drill.at) / 86_400 if drill is not None else 0.0
    ok = drill is not None and drill.ok and days <= MAX_DRILL_DAYS
    yield Finding(
        "drill", ok, f"{'good' if drill.ok else 'FAILED'}, {days:.1f} days ago" if drill else "there was none"
    )
