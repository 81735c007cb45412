"""Watch the main site: probes, the alert on the fourth failure in a row, and what is fetched ahead meanwhile."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Final

from common.program_name import program_name
from core.errors import SovitsError
from core.settings import Settings
from recovery.backup.names import LATEST
from recovery.backup.open_target import open_target
from recovery.backup.restore import Restorer
from recovery.backup.steps import StepLog
from recovery.standby.alerts import notify
from recovery.standby.audit_chain import AuditChain
from recovery.standby.drill import run_drill
from recovery.standby.local_service import LocalService
from recovery.standby.probe import ProbeFailed, SiteProbe, unreachable_vantages
from recovery.standby.site import DrillReport, StandbyFolder, SwitchState, WatchState
from recovery.standby.switch import Switch
from recovery.standby.warm import WarmSite

logger = logging.getLogger(__name__)

ALERT_FAILURES: Final = 4
"""More than three failures in a row."""


@dataclass(slots=True)
class Watcher:
    """Watches the main site from a standby."""

    settings: Settings
    main_url: str
    steps: StepLog
    _spoke_at: float = 0.0
    _prefetched_at: float = 0.0
    _drilled_at: float = field(default_factory=time.monotonic)

    def run(self, *, rounds: int = 0) -> bool:
        """Watch until a switch has been made, which returns True; or for so many rounds."""
        done = 0
        while True:
            started = time.monotonic()
            if self.watch_once():
                return True
            done += 1
            if rounds and done >= rounds:
                return False
            self._fetch_ahead()
            self._drill()
            time.sleep(max(0.0, started + self.settings.standby_probe_seconds - time.monotonic()))

    def watch_once(self) -> bool:
        """Probe once and act on the result; return whether this site is the primary one now."""
        folder = StandbyFolder(self.settings.data_path)
        state = folder.read(WatchState) or WatchState()
        state.main_url, state.checked_at = self.main_url, time.time()
        try:
            self._probe()
        except ProbeFailed as error:
            state.failures += 1
            state.last_failure_at, state.last_error = time.time(), error.message
            logger.warning("Probe %d of the main site failed: %s", state.failures, error.message)
        else:
            if state.alerted_at:
                self._tell("standby.recovered", f"The main site {self.main_url} serves again.")
            state.failures, state.alerted_at, state.last_error, state.switch_error = 0, 0.0, "", ""
            state.last_success_at = time.time()
        folder.write(state)
        if state.failures < ALERT_FAILURES:
            return False
        return self._act(folder, state)

    def _act(self, folder: StandbyFolder, state: WatchState) -> bool:
        """Alert once, and switch where that is automatic."""
        vantage = self.settings.standby_vantage
        unreachable = unreachable_vantages(vantage, self.settings.standby_probe_timeout_seconds)
        if vantage and len(unreachable) == len(vantage):
            logger.error(
                "The main site does not answer, and neither does %s: it may be this host's network. No switch.",
                ", ".join(unreachable),
            )
            return False
        if not state.alerted_at:
            state.alerted_at = time.time()
            folder.write(state)
            by_hand = f"Switch: {program_name()} standby switch --confirm"
            action = "It switches now." if self.settings.standby_automatic else by_hand
            reason = f"{state.failures} probes in a row ({state.last_error})"
            self._tell("standby.main_down", f"P1: the main site {self.main_url} failed {reason}. {action}")
        switch = folder.read(SwitchState)
        if switch is not None and switch.kind == "switch" and switch.finished_at > state.alerted_at:
            return True  # by a person
        if not self.settings.standby_automatic:
            return False
        try:
            Switch(self.settings, self.steps).run()
        except SovitsError as error:
            # The next failed probe goes on with the step that failed.
            if error.message != state.switch_error:
                self._tell("standby.switch_failed", f"P1: the switch stopped: {error.sentences}")
            state.switch_error = error.message
            folder.write(state)
            return False
        return True

    def _probe(self) -> None:
        probe = SiteProbe(self.settings, self.main_url)
        probe.ready()
        seconds = self.settings.standby_speech_probe_seconds
        if seconds and time.monotonic() - self._spoke_at >= seconds:
            probe.speak()
            self._spoke_at = time.monotonic()

    def _fetch_ahead(self) -> None:
        """Fetch the files of the newest backup, so that a switch need not."""
        if self._prefetched_at and time.monotonic() - self._prefetched_at < self.settings.standby_prefetch_seconds:
            return
        self._prefetched_at = time.monotonic()
        try:
            prefetch(self.settings)
        except SovitsError as error:
            logger.warning("The newest backup could not be fetched ahead: %s", error.message)

    def _drill(self) -> None:
        """Hold a drill when the last one is too old."""
        seconds = self.settings.standby_drill_days * 86_400
        last = StandbyFolder(self.settings.data_path).read(DrillReport)
        due = last is None or time.time() - last.at > seconds
        if not seconds or not due or time.monotonic() - self._drilled_at < self.settings.standby_prefetch_seconds:
            return
        self._drilled_at = time.monotonic()
        report = run_drill(self.settings, StepLog(emit=logger.info))
        if not report.ok:
            self._tell("standby.drill_failed", f"The drill failed: {'; '.join(report.problems)}")

    def _tell(self, event: str, message: str) -> None:
        notify(self.settings, event, message)
        AuditChain(self.settings.data_path).append(event, message)


def prefetch(settings: Settings) -> WatchState:
    """Fetch the files of the newest backup and of the changes behind it into the data folder of a standby.

    Where the service runs, the records are brought to their state, too; on the primary site nothing is done.
    """
    steps, folder = StepLog(emit=logger.debug), StandbyFolder(settings.data_path)
    state = folder.read(WatchState) or WatchState()
    if settings.fencing and LocalService(settings).is_running():
        marker = WarmSite(settings, steps).refresh()
        if marker is None:
            return state
        state.prefetched, state.prefetched_until = marker.backup, marker.complete_until
    else:
        restorer = Restorer(settings, open_target(settings.backup_url), steps)
        manifest, batches = restorer.read_newest(LATEST)
        restorer.prefetch(manifest, batches)
        state.prefetched = manifest.name
        state.prefetched_until = batches[-1].created_at if batches else manifest.created_at
    folder.write(state)
    return state
