"""Give the service back to the main site: bring over what came into being here, compare, move the traffic in steps.

Nothing is merged in silence and nothing is deleted: what the main site had written and not backed up is shown first,
and its records are kept beside the new ones.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import orjson
from pydantic import ValidationError

from common.program_name import program_name
from core.errors import Conflict, InvalidRequest, SovitsError
from core.settings import Settings
from recovery.backup.create import BackupMaker
from recovery.backup.open_target import open_target
from recovery.backup.steps import StepLog
from recovery.standby.alerts import notify
from recovery.standby.epochs import Epochs, LeaseRenewal
from recovery.standby.hooks import run_hook
from recovery.standby.local_service import LocalService
from recovery.standby.probe import SiteProbe
from recovery.standby.procedure import Procedure, Step
from recovery.standby.site import SiteIdentity, SwitchState
from recovery.standby.switch import READY_SECONDS, wait_for

MAIN_SECONDS: Final = 1800.0
"""That a command on the main site may take: a restore, at most."""
_WHILE_PAUSED: Final = ("pause", "back up", "restore there", "epoch")
"""Steps during which neither site accepts writes."""


class Handover(Procedure):
    """A return of the service to the main site."""

    kind = "return"

    def __init__(self, settings: Settings, main_url: str, steps: StepLog, *, accept_difference: bool = False) -> None:
        super().__init__(settings, steps, accept_difference=accept_difference)
        self.main_url = main_url

    def run(self) -> SwitchState:
        """Return the service, or go on where a return was interrupted.

        Raises:
            Conflict: a switch or a return is under way, or the main site has changes that were never backed up.
            SovitsError: a step failed; the traffic that was moved is taken back, and the same command goes on.
        """
        if not self.settings.standby_main_command:
            raise InvalidRequest(
                "A return runs commands on the main site, and STANDBY_MAIN_COMMAND is not set.",
                hint=f"Set it to what runs {program_name()} there: ssh voice@main sovitsd",
            )
        return super().run()

    @property
    def _command(self) -> str:
        return f"{program_name()} standby return --to {self.main_url}"

    @property
    def _purpose(self) -> str:
        return f"to {self.main_url} begins"

    def _goes_on(self, before: SwitchState) -> bool:
        return True

    def _check_other(self, before: SwitchState) -> None:
        if self.settings.fencing and "accept writes" not in before.done:
            raise Conflict(
                "A switch to this site was interrupted before its records were here.",
                hint=f"Go on with it: {program_name()} standby switch --confirm",
            )

    def _undo(self, failed_step: str) -> None:
        """Accept writes here again when the main site has not become the primary one; all is brought over anew then."""
        if not self.settings.fencing or failed_step not in _WHILE_PAUSED:
            return
        if failed_step != "epoch" or self._is_primary():
            LeaseRenewal(self.settings).pause(False)
            self.state.done = [name for name in self.state.done if name not in _WHILE_PAUSED]

    def _is_primary(self) -> bool:
        """Return whether the newest epoch is known to be this site's."""
        try:
            return Epochs.of(self.settings).is_held_by(SiteIdentity.of(self.settings.data_path))
        except SovitsError:
            return False

    def _planned_steps(self) -> Sequence[Step]:
        shares = [int(share) for share in self.settings.standby_shares]
        return (
            ("compare", self._compare),
            ("pause", self._pause),
            ("back up", self._back_up),
            ("restore there", self._restore_there),
            ("epoch", self._give_epoch),
            ("start there", self._start_there),
            *((f"traffic {share} %", lambda share=share: self._move(share)) for share in shares),
            ("old address", self._wait_for_names),
            ("sleep", self._sleep),
        )

    def _compare(self) -> str:
        """Show what the main site wrote and never backed up; it stays in its records from before the restore."""
        changes = self._on_main("standby", "changes", "--json")
        rows = [orjson.loads(line) for line in changes.splitlines() if line.startswith("{")]
        for row in rows:
            self.steps.warn(f"Only the main site has its change of {row['table']} {row['key']}.")
        if rows and not self._accept_difference:
            raise Conflict(
                f"The main site has {len(rows)} changes that were never backed up.",
                hint="Note what they are; --accept-difference goes on, and keeps its records beside the new ones.",
            )
        return f"{len(rows)} changes that only the main site has"

    def _pause(self) -> str:
        if not self.settings.fencing:
            return "no fencing: writes go on until the traffic is moved"
        LeaseRenewal(self.settings).pause(True)
        return "writes wait from now on"

    def _back_up(self) -> str:
        maker = BackupMaker(
            self.settings, open_target(self.settings.backup_url), self.steps, speak=False, handing_over=True
        )
        self.state.backup = maker.run().name
        return self.state.backup

    def _restore_there(self) -> str:
        options = ["--accept-difference"] if self._accept_difference else []
        self._on_main("standby", "take-back", self.state.backup, *options)
        return f"the main site has {self.state.backup}, with the same release ids"

    def _give_epoch(self) -> str:
        """Make the main site the primary one again."""
        if not self.settings.fencing:
            return "no fencing"
        try:
            identity = SiteIdentity.model_validate_json(self._on_main("standby", "identity"))
        except ValidationError:
            raise Conflict(
                "The main site did not say which one it is.",
                hint="STANDBY_MAIN_COMMAND must print what the command there prints, and nothing else.",
            ) from None
        epochs = Epochs.of(self.settings)
        newest = epochs.newest()
        if newest is None or newest.site != identity.site:
            number = newest.number + 1 if newest is not None else 1
            newest = epochs.claim(number, identity, handed_over=True)  # since `pause`, nothing is written here
        LeaseRenewal(self.settings, epochs).renew()  # writes are rejected here at once
        return f"epoch {newest.number} is {identity.host}'s"

    def _start_there(self) -> str:
        self._on_main("standby", "start")
        probe = SiteProbe(self.settings, self.main_url)
        wait_for(probe.ready, READY_SECONDS)
        return f"{self.main_url} is ready and speaks {probe.speak():,} bytes"

    def _move(self, share: int) -> str:
        """Give the main site a share of the traffic, and take it back when it does not serve."""
        self._set_share(share)
        try:
            probe = SiteProbe(self.settings, self.main_url)
            probe.ready()
            probe.speak()
        except SovitsError:
            self._set_share(self.state.share)
            raise
        self.state.share = share
        return f"the main site has {share} % of the traffic"

    def _set_share(self, share: int) -> None:
        if self.settings.standby_traffic_command:
            run_hook(
                "STANDBY_TRAFFIC_COMMAND",
                self.settings.standby_traffic_command,
                share=str(share),
                name=self.settings.standby_dns_name,
            )

    def _wait_for_names(self) -> str:
        """Serve until no resolver has the address of this site any more."""
        if not (self.settings.standby_traffic_command and self.settings.standby_dns_name):
            return "no STANDBY_DNS_NAME is moved"
        time.sleep(self.settings.standby_dns_ttl)
        return f"{self.settings.standby_dns_name} was kept by resolvers for {self.settings.standby_dns_ttl} s at most"

    def _sleep(self) -> str:
        detail = LocalService(self.settings).stop()
        notify(self.settings, "standby.returned", f"The main site {self.main_url} serves again; this one sleeps.")
        self._audit.archive(open_target(self.settings.backup_url))
        return f"{detail}; its state stays in {self.settings.data_path}"

    def _on_main(self, *arguments: str) -> str:
        return run_hook("STANDBY_MAIN_COMMAND", self.settings.standby_main_command, *arguments, seconds=MAIN_SECONDS)
