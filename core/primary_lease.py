"""Whether this site may write: the local side of fencing, which every process asks before it writes.

The supervisor renews the lease from the epochs in the backup's target (`recovery.standby.epochs`); the file says until
when it counts, on the clock that this host has run on since its start, so that a changed time of day changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
from filelock import FileLock
from pydantic import BaseModel, ValidationError

from common.files import write_atomically
from common.operating_system import boot_id
from common.program_name import program_name
from core.errors import NotReady
from core.settings import Settings


class NotPrimary(NotReady):
    """A write to a site that another one has replaced, or that does not know whether one has."""

    code = "not_primary"


class LeaseRecord(BaseModel):
    """The lease as the supervisor renewed it last."""

    boot: str
    """Of the host: after another start, its clock means something else."""
    epoch: int
    valid_until: float
    """Seconds since the host was started."""
    valid_from: float = 0.0
    """Until then the site that had the epoch before may write; seconds since the host was started."""
    replaced_by: str = ""
    """The site that holds a newer epoch."""
    paused: bool = False
    """Whether writes wait until a switch or a return has brought the records over."""


class PrimaryLease:
    """The lease of one data folder."""

    def __init__(self, data_path: Path, *, rejects_on_loss: bool = True) -> None:
        """`rejects_on_loss`: once it is over and could not be renewed, nothing is written."""
        self._path = data_path / "run" / "primary.json"
        self._rejects_on_loss = rejects_on_loss

    @classmethod
    def of(cls, settings: Settings) -> PrimaryLease | None:
        """Return the lease of this site; None where there is no fencing."""
        if not settings.fencing:
            return None
        return cls(settings.data_path, rejects_on_loss=settings.fencing_on_loss == "reject")

    def check(self) -> None:
        """Raise NotPrimary unless this site may write now."""
        record = self.read()
        if record is None or record.boot != boot_id():
            raise NotPrimary(
                "This site does not know yet whether it is the primary one.", hint="Wait until the daemon has started."
            )
        if record.replaced_by:
            raise NotPrimary(
                f"This site is no longer the primary one: {record.replaced_by} has replaced it.",
                hint=f"Send requests there; `{program_name()} standby status` says more.",
            )
        if record.paused:
            raise NotPrimary(
                "This site is handing over to another one, or taking over from it.",
                hint="Send the request again in a moment.",
            )
        if host_clock() < record.valid_from:
            raise NotPrimary(
                "This site takes over as soon as the lease of the one before has run out.",
                hint="Send the request again in a moment.",
            )
        if self._rejects_on_loss and host_clock() > record.valid_until:
            raise NotPrimary(
                "This site cannot renew its lease as the primary one, so another one may have replaced it.",
                hint="Check BACKUP_URL; FENCING_ON_LOSS=serve goes on writing all the same.",
            )

    def check_newest(self, *, handing_over: bool = False) -> None:
        """Raise NotPrimary when the records here are known to be older than those of another site.

        `handing_over`: writes wait here because this site gives its records away, and not because it awaits some.
        """
        record = self.read()
        if record is None:
            return
        if record.replaced_by:
            raise NotPrimary(
                f"This site is no longer the primary one: {record.replaced_by} has replaced it.",
                hint="Its state is older than that of the other site.",
            )
        if record.paused and not handing_over:
            raise NotPrimary(
                "A switch or a return is under way, so the records here may be older than those of the other site.",
                hint=f"Wait until it has ended; `{program_name()} standby status` says how far it is.",
            )

    def read(self) -> LeaseRecord | None:
        """Return the lease; None when there never was one."""
        try:
            return LeaseRecord.model_validate_json(self._path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock under which a lease is read and replaced: the supervisor and commands both do."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(self._path.with_suffix(".lock")):
            yield

    def write(self, record: LeaseRecord) -> None:
        """Replace the lease."""
        write_atomically(self._path, orjson.dumps(record.model_dump()))


def host_clock() -> float:
    """Return seconds since this host was started; the same in all of its processes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
