"""Backups on a schedule: a daily one in a process of its own, and the changes of the records every few seconds."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import time
from datetime import datetime, timedelta
from typing import Final

from common.programs import product_command
from core.primary_lease import NotPrimary, PrimaryLease
from core.process import child_environment, start_child
from core.settings import Settings
from recovery.backup.changes import ChangeShipper
from recovery.backup.local_state import LocalState
from recovery.backup.open_target import open_target
from recovery.standby.alerts import notify
from supervisor.maintenance import PeriodicAction

logger = logging.getLogger(__name__)

CHECK_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 600.0
"""Pause after a backup that failed."""
URGENT_RETRY_SECONDS: Final = 30.0
"""The same after a restore, when no backup counts yet."""
NICENESS: Final = "10"
"""A backup gives way to speech."""


class BackupActions:
    """Makes the backups of a host that has a BACKUP_URL."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._state = LocalState.of(settings)
        self._lease = PrimaryLease.of(settings)
        self._shipper: ChangeShipper | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._retry_seconds = RETRY_SECONDS

    def periodic_actions(self) -> tuple[PeriodicAction, ...]:
        """Return the actions for `Maintenance`; none without a BACKUP_URL."""
        if not self._settings.backup_url:
            return ()
        actions = []
        if self._settings.backup_schedule or self._settings.backup_every_seconds:
            actions.append(PeriodicAction("making backups", CHECK_SECONDS, self._follow_schedule))
        if self._settings.backup_every_seconds:
            seconds = self._settings.backup_every_seconds
            actions.append(PeriodicAction("sending changes to the backup", seconds, self._send_changes))
        return tuple(actions)

    async def _follow_schedule(self) -> None:
        """Start the backup that is due, and report how the one before ended."""
        if self._process is not None:
            if (code := self._process.poll()) is not None:
                await asyncio.to_thread(self._report, code)
                self._process = None
            return
        if not self._is_primary():
            return
        status = self._state.status()
        due = status.restored_at
        # The changes of a restored site are sent once there is a backup for them to follow; its voices speak later.
        urgent = status.created_at < due
        if self._settings.backup_schedule:
            due = max(due, last_due(self._settings.backup_schedule, datetime.now()))
        self._retry_seconds = URGENT_RETRY_SECONDS if urgent else RETRY_SECONDS
        if status.created_at >= due or time.time() - status.failed_at < self._retry_seconds:
            return
        nice = [path, "-n", NICENESS] if (path := shutil.which("nice")) and not urgent else []
        options = ["--without-speech"] if urgent else ["--prune"]
        command = [*nice, *product_command("backup", "now", "--json", *options)]
        # From the supervisor's main thread, which lives as long as the child should.
        self._process = start_child(
            command,
            env=child_environment(threads=1, DATA_PATH=str(self._settings.data_path)),
            cwd=os.getcwd(),
            stdout=subprocess.DEVNULL,
        )
        logger.info("A backup begins.")

    def _report(self, code: int) -> None:
        status = self._state.status()
        if code == 0:
            logger.info(
                "Backup %s: %d MB in %g s, %d MB of them sent.",
                status.name,
                status.total_bytes // 1_000_000,
                status.seconds,
                status.bytes_written // 1_000_000,
            )
        else:
            reason = status.error or f"exit code {code}"
            logger.error("The backup failed: %s It is tried again in %g s.", reason, self._retry_seconds)
            notify(self._settings, "backup.failed", f"The backup failed: {reason}")
            if not status.error:
                self._state.change_status(error=reason, failed_at=time.time())

    def _is_primary(self) -> bool:
        """Return whether this site's state is the newest: one that was replaced, or that takes over and still lacks the
        records, must not look like that."""
        if self._lease is None:
            return True
        try:
            self._lease.check()
        except NotPrimary:
            return False
        return True

    async def _send_changes(self) -> None:
        await asyncio.to_thread(self._ship)

    def _ship(self) -> None:
        if not self._is_primary():
            return
        if self._shipper is None:
            self._shipper = ChangeShipper(self._settings, open_target(self._settings.backup_url))
        self._shipper.ship()


def last_due(schedule: str, now: datetime) -> float:
    """Return when the newest daily backup was due, `HH:MM` local time, in seconds since the epoch."""
    hour, minute = map(int, schedule.split(":"))
    today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (today if today <= now else today - timedelta(days=1)).timestamp()
