"""A return to the main site that fails half-way: one site writes again, or none does where the epoch is unknown."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
from backup_sites import Site

from core.errors import SovitsError
from core.primary_lease import NotPrimary, PrimaryLease
from recovery.backup.names import epoch_key
from recovery.standby.epochs import LeaseRenewal
from recovery.standby.handover import Handover
from recovery.standby.site import StandbyFolder, SwitchState

MAIN_SITE = """
import pathlib, sys
target, says = sys.argv[1:3]
if sys.argv[4] == "identity":
    print(says)
    if target:
        pathlib.Path(target).write_text("no epoch")
"""


def interrupted_return(folder: Path, *, says: str, damaged: bool) -> tuple[Site, SwitchState, str]:
    """Let a return fail at the epoch; return the site, the state and the sentence of the error."""
    target = folder / "target"
    written = str(target / epoch_key(2)) if damaged else ""
    command = shlex.join([sys.executable, "-c", MAIN_SITE, written, says])
    site = Site(
        folder / "standby", str(target), fencing="on", fencing_lease_seconds=60, standby_main_command=command
    ).open()
    LeaseRenewal(site.settings).renew()
    with pytest.raises(SovitsError) as failure:
        Handover(site.settings, "http://127.0.0.1:9", site.steps).run()
    state = StandbyFolder(site.settings.data_path).read(SwitchState)
    assert state is not None
    assert state.failed_step == "epoch"
    return site, state, failure.value.message


def test_the_site_writes_again_when_the_main_site_has_not_become_the_primary_one(tmp_path: Path):
    site, state, message = interrupted_return(tmp_path, says="Welcome!", damaged=False)

    assert message == "The main site did not say which one it is."
    site.add_file("file-a", b"x")
    assert state.done == ["compare"]


def test_writes_wait_while_it_is_unknown_whether_the_main_site_has_become_the_primary_one(tmp_path: Path):
    site, state, _ = interrupted_return(tmp_path, says='{"site": "main", "host": "there"}', damaged=True)

    with pytest.raises(NotPrimary, match="handing over"):
        PrimaryLease(site.settings.data_path).check()
    assert state.done == ["compare", "pause", "back up", "restore there"]
