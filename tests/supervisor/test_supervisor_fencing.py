"""What a supervisor leaves alone while its site may not write."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.primary_lease import NotPrimary
from core.settings import read_settings
from recovery.standby.epochs import Epochs
from recovery.standby.site import SiteIdentity
from supervisor.fencing import FencingActions
from supervisor.maintenance import PeriodicAction


async def test_what_all_sites_share_is_changed_by_the_primary_one_only(tmp_path: Path):
    settings = read_settings(data_path=tmp_path / "main", backup_url=str(tmp_path / "target"), fencing="on")
    fencing = FencingActions(settings)
    runs: list[str] = []

    async def reconcile() -> None:
        runs.append("once")

    action = fencing.only_while_primary(PeriodicAction("reconciling", 5.0, reconcile))
    with pytest.raises(NotPrimary, match="does not know yet"):
        await action.run()
    assert await fencing.acquire()
    await action.run()
    Epochs.of(settings).claim(2, SiteIdentity(site="another", host="elsewhere"))

    assert not await fencing.acquire()

    with pytest.raises(NotPrimary, match="elsewhere has replaced it"):
        await action.run()
    assert runs == ["once"]


async def test_without_fencing_everything_runs(tmp_path: Path):
    fencing = FencingActions(read_settings(data_path=tmp_path))
    action = PeriodicAction("reconciling", 5.0, fencing.renew)

    assert await fencing.acquire()
    assert fencing.only_while_primary(action) is action
