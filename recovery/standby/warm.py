"""A warm standby: its service runs and reads, and its records follow the backups until it is the primary site."""

from __future__ import annotations

from typing import Final

from filelock import FileLock

from core.errors import Conflict, InvalidRequest
from core.settings import Settings
from recovery.backup.names import LATEST
from recovery.backup.open_target import open_target
from recovery.backup.restore import RestoreMarker, RestoreOptions, Restorer
from recovery.backup.steps import StepLog
from recovery.standby.epochs import Epochs
from recovery.standby.local_service import LocalService
from recovery.standby.site import SiteIdentity, StandbyFolder

LOCK_NAME: Final = "records.lock"


class WarmSite:
    """The records of a standby whose service may run."""

    def __init__(self, settings: Settings, steps: StepLog) -> None:
        self._settings = settings
        self._steps = steps
        self._service = LocalService(settings)

    def start(self) -> RestoreMarker:
        """Restore the newest backup and start the service, or bring its records up to date where it runs.

        Raises:
            InvalidRequest: nothing keeps both sites from writing.
            Conflict: this site is the primary one.
        """
        if not self._settings.fencing:
            raise InvalidRequest(
                "A warm standby runs beside the main site, which needs FENCING=on: else both would write.",
                hint="Set FENCING=on on both sites.",
            )
        marker = self.refresh()
        if marker is None:
            raise Conflict("This site is the primary one, and no standby.", hint="Run the command on the other site.")
        with self._steps.step("start") as step:
            step.detail = self._service.start()
        return marker

    def refresh(self) -> RestoreMarker | None:
        """Bring the records to the newest state of the backups; None, and nothing is done, on the primary site."""
        with self._records_lock():
            if Epochs.of(self._settings).is_held_by(SiteIdentity.of(self._settings.data_path)):
                return None
            if not self._service.is_running():
                return self._restorer(RestoreOptions(in_place=True)).run(LATEST)
            return self._restorer(RestoreOptions(live=True)).refresh(LATEST)

    def take_over(self, *, accept_difference: bool) -> RestoreMarker:
        """Restore the newest backup, checked, for a site that is about to be the primary one."""
        with self._records_lock():
            runs = self._service.is_running()
            options = RestoreOptions(in_place=not runs, live=runs, accept_difference=accept_difference, speak=not runs)
            return self._restorer(options).run(LATEST)

    def _restorer(self, options: RestoreOptions) -> Restorer:
        return Restorer(self._settings, open_target(self._settings.backup_url), self._steps, options)

    def _records_lock(self) -> FileLock:
        """Return the lock under which records are replaced: those of a switch must not be followed by older ones."""
        folder = StandbyFolder(self._settings.data_path).path
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return FileLock(folder / LOCK_NAME)
