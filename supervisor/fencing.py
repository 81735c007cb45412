"""The lease of a primary site: renewed every few seconds from the epochs in the backup's target."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from core.errors import SovitsError
from core.primary_lease import LeaseRecord, NotPrimary, PrimaryLease
from core.settings import Settings
from recovery.standby.audit_chain import AuditChain
from recovery.standby.epochs import LeaseRenewal
from supervisor.maintenance import PeriodicAction

logger = logging.getLogger(__name__)


class FencingActions:
    """Keeps the lease of this site, and says when another one has replaced it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lease = PrimaryLease.of(settings)
        self._renewal: LeaseRenewal | None = None
        self._was_replaced = False

    def periodic_actions(self) -> tuple[PeriodicAction, ...]:
        """Return the actions for `Maintenance`; none without FENCING."""
        if not self._settings.fencing:
            return ()
        return (PeriodicAction("renewing the lease", self._settings.fencing_renew_seconds, self.renew),)

    async def acquire(self) -> bool:
        """Look at the epochs before anything is written; return whether this site may write.

        A target that cannot be used does not end the start: the site reads, and writes once it has seen the epochs.
        """
        if self._lease is None:
            return True
        try:
            await self.renew()
            self._lease.check()
        except NotPrimary as error:
            logger.warning("Nothing is written yet: %s", error.message)
            return False
        except SovitsError as error:
            logger.error("It is unknown whether this is the primary site, so nothing is written: %s", error.message)
            return False
        return True

    async def do_once(self, name: str, write: Callable[[], Awaitable[object]]) -> tuple[PeriodicAction, ...]:
        """Do what is written once, or return the action that does it as soon as this site may write."""
        if await self.acquire():
            await write()
            return ()
        action = self.only_while_primary(PeriodicAction(name, self._settings.fencing_renew_seconds, write))
        done = False

        async def run() -> None:
            nonlocal done
            if not done:
                await action.run()
                done = True

        return (replace(action, run=run),)

    def only_while_primary(self, action: PeriodicAction) -> PeriodicAction:
        """Return an action that changes what all sites share, and that a site which may not write leaves alone."""
        if self._lease is None:
            return action
        lease = self._lease

        async def run() -> None:
            lease.check()
            await action.run()

        return replace(action, run=run)

    async def renew(self) -> None:
        """Renew the lease, and say when another site has replaced this one."""
        record = await asyncio.to_thread(self._renew)
        if record.replaced_by and not self._was_replaced:
            logger.error("%s has replaced this site (epoch %d): writes are rejected.", record.replaced_by, record.epoch)
            AuditChain(self._settings.data_path).append("fenced", f"replaced by {record.replaced_by}, {record.epoch}")
        elif self._was_replaced and not record.replaced_by:
            logger.info("This site is the primary one again (epoch %d).", record.epoch)
        self._was_replaced = bool(record.replaced_by)

    def _renew(self) -> LeaseRecord:
        if self._renewal is None:
            self._renewal = LeaseRenewal(self._settings)
        return self._renewal.renew()
