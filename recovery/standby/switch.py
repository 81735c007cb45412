"""Make this site the primary one, step by step: what was done is not done again, a failed step is where it goes on.

fence → fetch and restore → start → ready → speak → DNS → resolve → notify. With fencing, nobody writes here before the
lease of the site that is replaced has run out, whether or not it can be reached.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

from common.program_name import program_name
from core.settings import Settings
from recovery.backup.changes import read_sync_mark
from recovery.backup.names import LATEST
from recovery.backup.open_target import open_target
from recovery.backup.restore import RestoreOptions, Restorer
from recovery.backup.steps import StepLog
from recovery.standby.alerts import notify
from recovery.standby.epochs import Epochs
from recovery.standby.hooks import run_hook
from recovery.standby.local_service import LocalService
from recovery.standby.probe import ProbeFailed, SiteProbe
from recovery.standby.procedure import Procedure, Step
from recovery.standby.site import SiteIdentity, WatchState

SENTENCE: Final = "The service is here again."
LEASE_MARGIN_SECONDS: Final = 2.0
"""That a commit which began within the lease may take."""
READY_SECONDS: Final = 300.0
RESOLVE_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.5


class Switch(Procedure):
    """A switch to this site."""

    kind = "switch"

    def __init__(self, settings: Settings, steps: StepLog, *, accept_difference: bool = False) -> None:
        super().__init__(settings, steps, accept_difference=accept_difference)
        self._service = LocalService(settings)

    @property
    def _command(self) -> str:
        return f"{program_name()} standby switch --confirm"

    @property
    def _purpose(self) -> str:
        return f"begins; accept difference: {self._accept_difference}"

    def _planned_steps(self) -> Sequence[Step]:
        return (
            ("fence", self._fence),
            ("restore", self._restore),
            ("lease", self._wait_for_lease),
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
            epochs, identity = Epochs.of(self.settings), SiteIdentity.of(self.settings.data_path)
            newest = epochs.newest()
            if newest is None or newest.site != identity.site:
                newest = epochs.claim(newest.number + 1 if newest is not None else 1, identity)
            self.state.epoch, self.state.epoch_claimed_at = newest.number, time.time()
            details.append(f"epoch {newest.number} is this site's")
        if self.settings.standby_fence_command:
            run_hook("STANDBY_FENCE_COMMAND", self.settings.standby_fence_command)
            details.append("the fence command ran")
        if not details:
            self.steps.warn("FENCING is off and STANDBY_FENCE_COMMAND is empty: make sure that the main site is off.")
        return "; ".join(details) or "nothing fences the main site"

    def _restore(self) -> str:
        if self._service.is_running():
            return "the service runs already"
        restorer = Restorer(
            self.settings,
            open_target(self.settings.backup_url),
            self.steps,
            RestoreOptions(in_place=True, accept_difference=self._accept_difference),
        )
        if self._accept_difference:
            self._audit.append("override", "--accept-difference: keys and release ids may differ")
        marker = restorer.run(LATEST)
        mark = read_sync_mark(restorer.catalog, marker.backup)
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
        until = self.state.epoch_claimed_at + self.settings.fencing_lease_seconds + LEASE_MARGIN_SECONDS
        seconds = min(until - time.time(), self.settings.fencing_lease_seconds + LEASE_MARGIN_SECONDS)
        if seconds > 0:
            time.sleep(seconds)
        return f"the lease of the other site has run out ({self.settings.fencing_lease_seconds:g} s)"

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
        self._audit.archive(open_target(self.settings.backup_url))
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
