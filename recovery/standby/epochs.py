"""Which site is the primary one: the one that holds the newest epoch, an object that is created only if it is absent.

Of two sites that claim the same epoch at once, the target lets one succeed. An epoch is never changed or deleted.
"""

from __future__ import annotations

import time

from pydantic import BaseModel, ValidationError

from common.operating_system import boot_id
from common.program_name import program_name
from core.errors import Conflict
from core.primary_lease import LeaseRecord, PrimaryLease, host_clock
from core.settings import Settings
from recovery.backup.names import EPOCHS, epoch_key
from recovery.backup.open_target import open_target
from recovery.backup.signatures import BadBackup
from recovery.backup.target import BackupTarget
from recovery.standby.site import SiteIdentity

RETRY_SECONDS = 2.0
"""How long a request of a renewal is repeated."""
LEASE_MARGIN_SECONDS = 2.0
"""That a commit which began within the lease may take."""


class Epoch(BaseModel):
    """A time during which one site is the primary one."""

    number: int
    site: str
    """Id of the site."""
    host: str
    claimed_at: float
    handed_over: bool = False
    """Whether the site before gave it away, and wrote nothing any more when it did."""


class Epochs:
    """The epochs in a target."""

    def __init__(self, target: BackupTarget) -> None:
        self._target = target

    @classmethod
    def of(cls, settings: Settings) -> Epochs:
        """Return the epochs in the backup's target, which must respond soon."""
        return cls(open_target(settings.backup_url, retry_seconds=RETRY_SECONDS))

    def newest(self) -> Epoch | None:
        """Return the newest epoch; None when there never was one."""
        numbers = [
            int(stem) for entry in self._target.list(EPOCHS) if (stem := entry.key.rpartition("/epoch-")[2]).isdecimal()
        ]
        if not numbers:
            return None
        content = self._target.read(epoch_key(max(numbers)))
        try:
            return Epoch.model_validate_json(content)
        except ValidationError:
            raise BadBackup(f"The object {epoch_key(max(numbers))} of {self._target.name} is no epoch.") from None

    def is_held_by(self, identity: SiteIdentity) -> bool:
        """Return whether the newest epoch is that of a site; raises as `newest`."""
        newest = self.newest()
        return newest is not None and newest.site == identity.site

    def claim(self, number: int, identity: SiteIdentity, *, handed_over: bool = False) -> Epoch:
        """Make a site the primary one; raise Conflict when another one was first."""
        epoch = Epoch(
            number=number, site=identity.site, host=identity.host, claimed_at=time.time(), handed_over=handed_over
        )
        if not self._target.create(epoch_key(number), epoch.model_dump_json().encode()):
            raise Conflict(
                f"Another site has taken epoch {number} at this moment.",
                hint=f"`{program_name()} standby status` says which one is the primary one now.",
            )
        return epoch


class LeaseRenewal:
    """Keeps the lease of this site as long as it holds the newest epoch."""

    def __init__(self, settings: Settings, epochs: Epochs | None = None) -> None:
        self._lease = PrimaryLease(settings.data_path)
        self._identity = SiteIdentity.of(settings.data_path)
        self._epochs = epochs or Epochs.of(settings)
        self._seconds = settings.fencing_lease_seconds

    def renew(self, *, may_claim_first: bool = True, paused: bool | None = None) -> LeaseRecord:
        """Look at the newest epoch and write the lease accordingly; the first site of all claims epoch 1.

        Args:
            may_claim_first: whether this site may be the first one.
            paused: whether writes wait from now on; None leaves that as it is.

        Raises:
            StorageUnavailable: the target cannot be used; the lease stays as it is, and runs out.
        """
        asked_at = host_clock()
        newest = self._epochs.newest()
        if newest is None and may_claim_first:
            newest = self._epochs.claim(1, self._identity)
        with self._lease.changing():
            before = self._lease.read()
            if paused is None:
                paused = before is not None and before.paused
            if newest is None or newest.site != self._identity.site:
                record = LeaseRecord(
                    boot=boot_id(),
                    epoch=newest.number if newest is not None else 0,
                    valid_until=0.0,
                    replaced_by=newest.host if newest is not None else "nobody",
                    paused=paused,
                )
            else:
                record = LeaseRecord(
                    boot=boot_id(),
                    epoch=newest.number,
                    # From before the request: whoever claims the next epoch after it waits for as long.
                    valid_until=asked_at + self._seconds,
                    valid_from=self._valid_from(newest, before),
                    paused=paused,
                )
            self._lease.write(record)
        return record

    def pause(self, paused: bool) -> None:
        """Reject writes while another site takes over, or accept them again."""
        with self._lease.changing():
            if (record := self._lease.read()) is not None:
                self._lease.write(record.model_copy(update={"paused": paused}))

    def _valid_from(self, newest: Epoch, before: LeaseRecord | None) -> float:
        """Return from when this site may write in its epoch: once the lease of the site before has run out.

        That is counted from when this site first saw the epoch, which is not before it was claimed.
        """
        if newest.number == 1 or newest.handed_over:
            return 0.0
        if before is not None and before.epoch == newest.number and not before.replaced_by:
            if before.boot == boot_id():
                return before.valid_from
            if before.valid_until - self._seconds >= before.valid_from:  # the wait was over before the host's restart
                return 0.0
        return host_clock() + self._seconds + LEASE_MARGIN_SECONDS
