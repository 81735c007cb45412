"""What `main.py doctor` asks of host and service beside devices: addresses, keys, disks, clock, torch, backups."""

from __future__ import annotations

import asyncio
import ctypes
import re
import shutil
import sys
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from common.hosts import bracketed
from common.program_name import program_name
from core.errors import SovitsError
from core.exposure import is_loopback
from core.records import ApiKeyRecord, Records
from core.redis import connect, is_connection_error
from core.redis_server import find_redis_url
from core.setting_values import BUCKETS
from core.settings import Settings
from recovery.backup.local_state import LocalState

LOW_DISK_MB: Final = 2048
"""Less free disk than this is worth a word: a data set and its checkpoints take about as much."""
CLOCK_SECONDS: Final = 2.0
"""A clock that differs more from that of Redis makes leases and schedules wrong."""
REDIS_SECONDS: Final = 2.0
MAX_BACKUP_HOURS: Final = 26.0
_CLOCK_UNSYNCHRONIZED: Final = 0x40
"""STA_UNSYNC of adjtimex(2)."""
_TIMEX_BYTES: Final = 208
_STATUS_OFFSET: Final = 40
EXPIRES_SOON_SECONDS: Final = 7 * 86_400


@dataclass
class HostCheck:
    """Lines to show, what is missing, and what is worth having."""

    lines: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)


def check_keys(settings: Settings) -> HostCheck:
    """Say who may call: how many keys there are, and which end soon; a database that does not exist has none."""
    check = HostCheck()
    configured = len(settings.valid_api_keys) + len(settings.admin_api_keys)
    if configured:
        check.lines.append(f"{configured} in VALID_API_KEYS and ADMIN_API_KEYS")
    if settings.resolved_database_url.startswith("sqlite") and not settings.database_file.exists():
        return check if configured else HostCheck(["none: requests need no key"])
    try:
        records = asyncio.run(_recorded_keys(settings))
    except SovitsError as error:
        return HostCheck([f"unknown: {error.message}"])
    now = time.time()
    usable = [key for key in records if key.status(now) in ("valid", "admin")]
    check.lines.append(f"{len(usable)} valid of {len(records)} that were made by `{program_name()} keys`")
    for key in usable:
        if key.expires_at is not None and key.expires_at - now < EXPIRES_SOON_SECONDS:
            days = (key.expires_at - now) / 86_400
            check.advice.append(
                f"a key in place of {key.name!r}, which ends in {days:.1f} days: `{program_name()} keys create`"
            )
    if records and not usable and not configured:
        check.missing.append(f"a valid API key: every request is rejected; see `{program_name()} keys open`")
    return check


def check_addresses(settings: Settings) -> HostCheck:
    """Say who can reach the API and the Wyoming protocol, which has no keys."""
    check = HostCheck([f"the API: {_reach(settings.host, settings.port)}"])
    if settings.wyoming_port:
        check.lines.append(f"Wyoming: {_reach(settings.wyoming_host, settings.wyoming_port)}")
        if not is_loopback(settings.wyoming_host):
            check.advice.append(
                f"WYOMING_HOST=127.0.0.1, or a firewall before port {settings.wyoming_port}: Wyoming needs no key"
            )
    return check


def _reach(host: str, port: int) -> str:
    whom = "this machine" if is_loopback(host) else "other machines"
    return f"{bracketed(host)}:{port}, reachable from {whom}"


def check_disks(settings: Settings) -> HostCheck:
    """Say how much disk is free for what is written, once for each disk."""
    folders = {"data": settings.data_path, "artifacts": settings.storage_root, "weights": settings.models_folder}
    if settings.backup_url and not settings.backup_url.startswith(BUCKETS):
        folders["backups"] = Path(settings.backup_url.removeprefix("file://"))
    by_disk: dict[int, list[str]] = {}
    free: dict[int, int] = {}
    for title, folder in folders.items():
        existing = nearest_existing(folder)
        disk = existing.stat().st_dev
        by_disk.setdefault(disk, []).append(f"{title} in {folder}")
        free[disk] = shutil.disk_usage(existing).free // 2**20
    check = HostCheck()
    for disk, titles in by_disk.items():
        check.lines.append(f"{free[disk]} MiB free for {', '.join(titles)}")
        if free[disk] < LOW_DISK_MB:
            check.advice.append(f"{LOW_DISK_MB} MiB of free disk for {', '.join(titles)}; there are {free[disk]} MiB")
    return check


def nearest_existing(path: Path) -> Path:
    """Return the folder that exists in which a path is, or would be."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def check_clock(settings: Settings) -> HostCheck:
    """Compare this host's clock with Redis's, and ask the kernel whether it is synchronized."""
    check = HostCheck()
    try:
        with connect(find_redis_url(settings), socket_seconds=REDIS_SECONDS) as client:
            before = time.time()
            seconds, microseconds = client.time()
            difference = (before + time.time()) / 2 - (int(seconds) + int(microseconds) / 1e6)
        check.lines.append(f"differs by {difference:+.3f} s from that of Redis")
        if abs(difference) > CLOCK_SECONDS:
            check.missing.append(f"the right time: this clock and that of Redis differ by {difference:+.1f} s; run NTP")
    except SovitsError:
        check.lines.append("not compared with that of Redis, which does not run")
    except Exception as error:
        if not is_connection_error(error):
            raise
        check.lines.append("not compared with that of Redis, which does not answer")
    if (synchronized := _is_synchronized()) is not None:
        check.lines.append("synchronized" if synchronized else "not synchronized, as the kernel says")
        if not synchronized and not settings.resolved_database_url.startswith("sqlite"):
            check.advice.append("a clock that NTP keeps right, since several hosts share the records")
    return check


def check_cuda_wheel(driver_version: str, gpus: int, torch_folder: Path | None = None) -> HostCheck:
    """Compare the CUDA version of the installed torch with that of the driver; torch is not imported."""
    folder = torch_folder or _torch_folder()
    wheel = _cuda_of_torch(folder) if folder else ""
    check = HostCheck(
        [f"torch is built for {'CUDA ' + wheel if wheel else 'CPUs'}; the driver has {driver_version or 'no CUDA'}"]
    )
    if not gpus:
        return check
    if not wheel:
        check.missing.append("a torch with CUDA: this one is built for CPUs, so the GPUs are not used")
    elif driver_version and _numbers(wheel)[:1] > _numbers(driver_version)[:1]:
        check.missing.append(f"a driver for CUDA {wheel}, which torch is built for; this one has {driver_version}")
    return check


def check_backups(settings: Settings) -> HostCheck:
    """Say how old the newest backup of this host is; without a BACKUP_URL, that none is made."""
    if not settings.backup_url:
        return HostCheck(["none is made"], advice=["BACKUP_URL, where backups are made to (docs/backup.md)"])
    status = LocalState.of(settings).status()
    check = HostCheck()
    if not status.created_at:
        check.lines.append("none was made yet")
        check.advice.append(f"a first backup: `{program_name()} backup now`")
    else:
        hours = (time.time() - status.created_at) / 3600
        check.lines.append(f"{status.name}, {hours:.1f} h old")
        if hours > MAX_BACKUP_HOURS:
            check.missing.append(
                f"a backup of the last day: the newest is {hours:.0f} h old; `{program_name()} backup now`"
            )
    if status.failed_at > status.created_at:
        check.missing.append(f"a backup that succeeds: the last one failed: {status.error}")
    return check


async def _recorded_keys(settings: Settings) -> list[ApiKeyRecord]:
    records = Records.from_settings(settings)
    try:
        return list(await records.api_keys.all())
    finally:
        await records.close()


def _torch_folder() -> Path | None:
    spec = find_spec("torch")
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _cuda_of_torch(folder: Path) -> str:
    """Return the CUDA version in torch's own `version.py`; empty for a wheel for CPUs."""
    try:
        text = (folder / "version.py").read_text(encoding="utf-8")
    except OSError:
        return ""
    match = re.search(r"^cuda[^=\n]*=\s*['\"]([\d.]+)['\"]", text, re.MULTILINE)
    return match[1] if match else ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _is_synchronized() -> bool | None:
    """Return what the kernel says of its clock; None where it cannot be asked."""
    if not sys.platform.startswith("linux"):
        return None
    state = ctypes.create_string_buffer(_TIMEX_BYTES)  # modes = 0: read only
    try:
        if ctypes.CDLL(None, use_errno=True).adjtimex(state) < 0:
            return None
    except (AttributeError, OSError):
        return None
    status = int.from_bytes(state.raw[_STATUS_OFFSET : _STATUS_OFFSET + 4], sys.byteorder)
    return not status & _CLOCK_UNSYNCHRONIZED
