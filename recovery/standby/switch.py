"""Make this site the primary one, step by step: what was done is not done again, a failed step is where it goes on.

fence → fetch → lease → restore → accept writes → start → ready → speak → DNS → resolve → notify. With fencing, nobody
writes here before the lease of the site that is replaced has run out, whether or not it can be reached, and before what
it wrote until then is here: a warm service, which runs already, rejects writes until `accept writes`.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

from common.program_name import program_name
from core.errors import Conflict, StorageUnavailable
from core.primary_lease import host_clock
from core.settings import Settings
from recovery.backup.catalog import BackupCatalog
from recovery.backup.changes import read_sync_mark
from recovery.backup.names import LATEST
from recovery.backup.open_target import open_target
from recovery.backup.restore import Restorer
from recovery.backup.signatures import BackupSigner
from recovery.backup.steps import StepLog
from recovery.standby.alerts import notify
from recovery.standby.epochs import Epochs, LeaseRenewal
from recovery.standby.hooks import run_hook
from recovery.standby.local_service import LocalService
from recovery.standby.probe import ProbeFailed, SiteProbe
from recovery.standby.procedure import Procedure, Step
from recovery.standby.site import SiteIdentity, SwitchState, WatchState
from recovery.standby.warm import WarmSite

SENTENCE: Final = "The service is here again."
READY_SECONDS: Final = 300.0
RESOLVE_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.5


class Switch(Procedure):
    """A switch to this site."""

    kind = "switch"

    def __init__(self, settings: Settings, steps: StepLog, *, accept_difference: bool = False) -> None:
        super().__init__(settings, steps, accept_difference=accept_difference)
        self._service = LocalService(settings)
        self._target = open_target(settings.backup_url)

    @property
    def _command(self) -> str:
        return f"{program_name()} standby switch --confirm"

    @property
    def _purpose(self) -> str:
        return f"begins; accept difference: {self._accept_difference}"

    def _goes_on(self, before: SwitchState) -> bool:
        """Return whether an interrupted switch can go on: not when another site has become the primary one since."""
        if not self.settings.fencing or "fence" not in before.done:
            return True
        try:
            newest = Epochs.of(self.settings).newest()
        except StorageUnavailable:  # the steps that need it will say so
            return True
        return newest is not None and newest.number == before.epoch

    def _check_other(self, before: SwitchState) -> None:
        if "pause" in before.done and "epoch" not in before.done:
            raise Conflict(
                "A return to the main site was interrupted, and writes wait for its end.",
                hint=f"`{program_name()} standby return` goes on with it; if it fails, this site writes again.",
            )

    def _undo(self, failed_step: str) -> None:
        """Leave everything as it is: the other site has been fenced."""

    def _planned_steps(self) -> Sequence[Step]:
        return (
            ("fence", self._fence),
            ("fetch", self._fetch),
            ("lease", self._wait_for_lease),
            ("restore", self._restore),
            ("accept writes", self._accept_writes),
            ("start", self._service.start),
            ("ready", self._wait_until_ready),
            ("speak", self._speak),
            ("dns", self._change_dns),
            ("resolve", self._check_dns),
            ("notify", self._tell),
        )

    def _fence(self) -> str:
        """Take the next epoch, and run the command that ends the main site."""
        details = []
        if self.settings.fencing:
            self.state.epoch = self._claim_epoch()
            details.append(f"epoch {self.state.epoch} is this site's")
        if self.settings.standby_fence_command:
            run_hook("STANDBY_FENCE_COMMAND", self.settings.standby_fence_command)
            details.append("the fence command ran")
        if not details:
            self.steps.warn("FENCING is off and STANDBY_FENCE_COMMAND is empty: make sure that the main site is off.")
        return "; ".join(details) or "nothing fences the main site"

    def _claim_epoch(self) -> int:
        """Take the next epoch, with writes paused before: a warm service sees it at once, and has not the records yet.

        Raises:
            Conflict: this site is the primary one already, or another one was faster.
        """
        epochs, identity = Epochs.of(self.settings), SiteIdentity.of(self.settings.data_path)
        renewal = LeaseRenewal(self.settings, epochs)
        newest = epochs.newest()
        if newest is not None and newest.site == identity.site:
            if not renewal.renew().paused:  # else a switch was interrupted here
                raise Conflict(
                    f"This site is the primary one already, in epoch {newest.number}.",
                    hint=f"Start its service if it does not run: {program_name()} serve.",
                )
            return newest.number
        renewal.renew(may_claim_first=False, paused=True)
        number = epochs.claim(newest.number + 1 if newest is not None else 1, identity).number
        renewal.renew()
        return number

    def _fetch(self) -> str:
        """Fetch files while the other site's lease runs out."""
        restorer = Restorer(self.settings, self._target, self.steps)
        manifest, batches = restorer.read_newest(LATEST)
        restorer.prefetch(manifest, batches)
        return manifest.name

    def _restore(self) -> str:
        if self._service.is_running() and not self.settings.fencing:
            return "the service runs already"
        if self._accept_difference:
            self._audit.append("override", "--accept-difference: keys and release ids may differ")
        marker = WarmSite(self.settings, self.steps).take_over(accept_difference=self._accept_difference)
        mark = read_sync_mark(BackupCatalog(self._target, BackupSigner.of(self.settings)), marker.backup)
        self.state.backup = marker.backup
        self.state.complete_until = max(marker.complete_until, mark.at if mark is not None else 0.0)
        watch = self._folder.read(WatchState)
        failed_at = watch.last_success_at if watch is not None and watch.last_success_at else self.state.started_at
        self.state.lost_seconds = round(max(0.0, failed_at - self.state.complete_until), 1)
        return f"{marker.backup}, changes until {_clock(self.state.complete_until)}"

    def _wait_for_lease(self) -> str:
        """Wait until the site that is replaced can no longer write."""
        if not self.settings.fencing:
            return "no fencing"
        record = LeaseRenewal(self.settings).renew()
        if record.replaced_by:
            raise Conflict(f"{record.replaced_by} has taken epoch {record.epoch} meanwhile.")
        while (seconds := record.valid_from - host_clock()) > 0:
            time.sleep(seconds)
        return f"the lease of the other site has run out ({self.settings.fencing_lease_seconds:g} s)"

    def _accept_writes(self) -> str:
        if not self.settings.fencing:
            return "no fencing"
        LeaseRenewal(self.settings).pause(False)
        return "writes are accepted here"

    def _wait_until_ready(self) -> str:
        probe = SiteProbe(self.settings, self._service.url())
        return wait_for(probe.ready, READY_SECONDS) or f"{probe.url} is ready"

    def _speak(self) -> str:
        probe = SiteProbe(self.settings, self._service.url())
        return f"{probe.speak(SENTENCE):,} bytes of speech"

    def _change_dns(self) -> str:
        if not self.settings.standby_dns_command:
            return "no STANDBY_DNS_COMMAND: change the name by hand"
        run_hook(
            "STANDBY_DNS_COMMAND",
            self.settings.standby_dns_command,
            name=self.settings.standby_dns_name,
            address=self.settings.standby_address,
            ttl=str(self.settings.standby_dns_ttl),
        )
        return f"{self.settings.standby_dns_name} is to be {self.settings.standby_address}"

    def _check_dns(self) -> str:
        name, address = self.settings.standby_dns_name, self.settings.standby_address
        if not (name and address):
            return "no STANDBY_DNS_NAME"

        def resolve() -> None:
            addresses = resolved_addresses(name)
            if address not in addresses:
                raise ProbeFailed(f"{name} is {', '.join(addresses) or 'unknown'} instead of {address}")

        return wait_for(resolve, RESOLVE_SECONDS) or f"{name} is {address}"

    def _tell(self) -> str:
        seconds = time.time() - self.state.started_at
        problems = notify(
            self.settings,
            "standby.switched",
            f"This site is the primary one after {seconds:.0f} s. It has {self.state.backup} with all changes until "
            f"{_clock(self.state.complete_until)}; at most {self.state.lost_seconds:g} s of changes are lost.",
            seconds=round(seconds, 1),
            lost_seconds=self.state.lost_seconds,
            epoch=self.state.epoch,
        )
        for problem in problems:
            self.steps.warn(problem)
        self._audit.archive(self._target)
        return f"at most {self.state.lost_seconds:g} s of changes are lost"


def wait_for(check: Callable[[], object], seconds: float) -> str:
    """Repeat a check until it succeeds; raise its last error after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            check()
            return ""
        except ProbeFailed:
            if time.monotonic() > deadline:
                raise
        time.sleep(POLL_SECONDS)


def resolved_addresses(name: str) -> list[str]:
    """Return the addresses that a name has now; none when it cannot be resolved."""
    try:
        return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(name, None)})
    except OSError:
        return []


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
