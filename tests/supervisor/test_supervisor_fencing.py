"""What a supervisor leaves alone while its site may not write."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from daemon_stage import Daemon, Stage, until

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


@pytest.mark.slow
def test_a_site_publishes_the_bundled_voices_once_it_may_write(tmp_path: Path):
    target = tmp_path / "target"
    target.write_text("a file where the folder of the backups is to be")
    stage = Stage()
    daemon = Daemon(tmp_path / "data", stage)

    def count_voices() -> int:
        with sqlite3.connect(daemon.settings.database_file) as connection:
            return int(connection.execute("SELECT COUNT(*) FROM voices").fetchone()[0])

    try:
        daemon.start(
            BACKUP_URL=str(target),
            BACKUP_SCHEDULE="",
            FENCING="on",
            FENCING_LEASE_SECONDS="10",
            FENCING_RENEW_SECONDS="1",
        )
        assert count_voices() == 0
        target.unlink()

        until(count_voices)
        assert daemon.drain() == 0
    finally:
        daemon.close()
        stage.close()
