"""Metrics of backups, drills and fencing: how much would be lost, and how long a recovery takes."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from core.primary_lease import NotPrimary, PrimaryLease
from core.settings import Settings
from recovery.backup.local_state import LocalState
from recovery.standby.site import DrillReport, StandbyFolder


class RecoveryCollector(Collector):
    """Reads what this host's backups and drills left; nothing on a host without a BACKUP_URL."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        if not self._settings.backup_url:
            return
        now, status = time.time(), LocalState.of(self._settings).status()
        yield GaugeMetricFamily(
            "sovits_backup_failed", "1 while the last backup of this host failed.", value=bool(status.error)
        )
        if status.name:
            yield GaugeMetricFamily(
                "sovits_backup_age_seconds", "Age of this host's last backup.", value=now - status.created_at
            )
            yield GaugeMetricFamily("sovits_backup_seconds", "Seconds that it took.", value=status.seconds)
        complete_until = max(status.created_at, status.shipped_at)
        if complete_until:
            yield GaugeMetricFamily(
                "sovits_recovery_point_seconds",
                "Seconds of changes that would be lost now (RPO).",
                value=now - complete_until,
            )
        drill = StandbyFolder(self._settings.data_path).read(DrillReport)
        if drill is not None:
            yield GaugeMetricFamily("sovits_drill_age_seconds", "Age of the last drill.", value=now - drill.at)
            yield GaugeMetricFamily("sovits_drill_ok", "1 when it went well.", value=drill.ok)
            yield GaugeMetricFamily(
                "sovits_recovery_seconds", "Seconds from a backup to speech in it (RTO).", value=drill.seconds
            )
        lease = PrimaryLease.of(self._settings)
        if lease is not None:
            yield GaugeMetricFamily("sovits_primary", "1 while this site may write.", value=_holds(lease))


def _holds(lease: PrimaryLease) -> bool:
    try:
        lease.check()
    except NotPrimary:
        return False
    return True
