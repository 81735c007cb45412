"""Fencing: of two sites, one is the primary one; a site that was replaced, or that cannot know, writes nothing."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from backup_sites import Site

from common.operating_system import boot_id
from core.errors import Conflict, StorageUnavailable
from core.primary_lease import NotPrimary, PrimaryLease, host_clock
from core.records import Records
from recovery.backup.open_target import open_target
from recovery.standby.epochs import Epochs, LeaseRenewal
from recovery.standby.site import SiteIdentity


@pytest.fixture
def sites(tmp_path: Path) -> tuple[Site, Site]:
    """Return the main site and the standby, fenced by one target."""
    main, standby = (
        Site(tmp_path / name, str(tmp_path / "target"), fencing="on", fencing_lease_seconds=60)
        for name in ("main", "standby")
    )
    main.open()
    standby.open()
    LeaseRenewal(main.settings).renew()
    LeaseRenewal(standby.settings).renew()
    return main, standby


def claim_next_epoch(site: Site, *, handed_over: bool = False) -> None:
    epochs, identity = Epochs.of(site.settings), SiteIdentity.of(site.settings.data_path)
    newest = epochs.newest()
    assert newest is not None
    epochs.claim(newest.number + 1, identity, handed_over=handed_over)
    LeaseRenewal(site.settings).renew()


def let_the_other_lease_run_out(site: Site) -> None:
    lease = PrimaryLease(site.settings.data_path)
    record = lease.read()
    assert record is not None
    lease.write(record.model_copy(update={"valid_from": host_clock()}))


def take_over(site: Site) -> None:
    claim_next_epoch(site)
    let_the_other_lease_run_out(site)


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_of_many_sites_that_claim_an_epoch_at_once_one_succeeds(
    place: str, request: pytest.FixtureRequest, tmp_path: Path
):
    url = str(tmp_path / "target") if place == "folder" else request.getfixturevalue("buckets").new_bucket()
    barrier = threading.Barrier(6)
    winners, losers = [], []

    def claim(number: int) -> None:
        epochs = Epochs(open_target(url))
        identity = SiteIdentity(site=f"site-{number}", host="here")
        barrier.wait()
        try:
            epochs.claim(1, identity)
        except Conflict:
            losers.append(identity.site)
        else:
            winners.append(identity.site)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    newest = Epochs(open_target(url)).newest()
    assert newest is not None
    assert winners == [newest.site]
    assert len(losers) == 5


def test_a_replaced_primary_reads_and_writes_nothing_while_both_live(sites: tuple[Site, Site]):
    main, standby = sites
    main.add_file("file-a", b"as the primary")
    with pytest.raises(NotPrimary, match="replaced"):
        standby.add_file("file-b", b"too early")

    take_over(standby)
    LeaseRenewal(main.settings).renew()

    with pytest.raises(NotPrimary, match="no longer the primary"):
        main.add_file("file-c", b"too late")
    assert main.files() == {"file-a": b"as the primary"}
    standby.add_file("file-d", b"as the new primary")
    assert set(standby.files()) == {"file-d"}


def test_a_service_that_runs_already_writes_nothing_before_the_lease_of_the_other_site_has_run_out(
    sites: tuple[Site, Site],
):
    main, standby = sites
    claim_next_epoch(standby)
    for _ in range(2):  # its supervisor renews the lease every few seconds
        record = LeaseRenewal(standby.settings).renew()
        assert record.valid_from > host_clock() + 50
        with pytest.raises(NotPrimary, match="as soon as the lease of the one before has run out"):
            standby.add_file("file-a", b"beside the other one")
    main.add_file("file-b", b"which does not know yet, and holds its lease")

    let_the_other_lease_run_out(standby)
    LeaseRenewal(standby.settings).renew()

    standby.add_file("file-c", b"alone")
    assert set(standby.files()) == {"file-c"}


def test_a_primary_whose_host_starts_again_waits_for_nobody_unless_it_waited_then(sites: tuple[Site, Site]):
    _, standby = sites
    lease = PrimaryLease(standby.settings.data_path)
    claim_next_epoch(standby)

    def start_host_again() -> float:
        record = lease.read()
        assert record is not None
        lease.write(record.model_copy(update={"boot": "before"}))
        return LeaseRenewal(standby.settings).renew().valid_from

    assert start_host_again() > host_clock() + 50
    let_the_other_lease_run_out(standby)
    LeaseRenewal(standby.settings).renew()
    assert start_host_again() == 0.0


def test_an_epoch_that_was_handed_over_counts_at_once(sites: tuple[Site, Site]):
    main, standby = sites
    LeaseRenewal(main.settings).pause(True)

    claim_next_epoch(standby, handed_over=True)

    standby.add_file("file-a", b"at once")
    with pytest.raises(NotPrimary):
        main.add_file("file-b", b"since the pause")


def test_a_pause_is_not_lost_to_a_renewal_at_the_same_moment(sites: tuple[Site, Site]):
    main, _ = sites
    ended = threading.Event()

    def renew() -> None:
        renewal = LeaseRenewal(main.settings)
        while not ended.is_set():
            renewal.renew()

    renewing = threading.Thread(target=renew)
    renewing.start()
    try:
        for number in range(100):
            paused = number % 2 == 0
            LeaseRenewal(main.settings).pause(paused)
            record = LeaseRenewal(main.settings).renew()
            assert record.paused is paused
    finally:
        ended.set()
        renewing.join()


def test_a_transaction_that_is_open_when_the_site_is_replaced_is_undone(sites: tuple[Site, Site]):
    main, standby = sites

    async def write_slowly() -> None:
        records = Records.from_settings(main.settings)
        try:
            async with records.database.write() as connection:
                await connection.exec_driver_sql("INSERT INTO limits (device, updated_at) VALUES ('cpu', 1.0)")
                await asyncio.to_thread(take_over, standby)
                await asyncio.to_thread(LeaseRenewal(main.settings).renew)
        finally:
            await records.close()

    async def count() -> object:
        records = Records.from_settings(main.settings)
        async with records.database.read() as connection:
            rows = (await connection.exec_driver_sql("SELECT count(*) FROM limits")).scalar()
        await records.close()
        return rows

    with pytest.raises(NotPrimary):
        asyncio.run(write_slowly())
    assert asyncio.run(count()) == 0


def test_a_lease_that_cannot_be_renewed_runs_out_as_the_setting_says(sites: tuple[Site, Site]):
    main, _ = sites
    target = Path(main.settings.backup_url)
    target.rename(target.with_name("unplugged"))
    target.write_text("no folder")
    with pytest.raises((StorageUnavailable, NotADirectoryError)):
        LeaseRenewal(main.settings, Epochs.of(main.settings)).renew(may_claim_first=True)
    main.add_file("file-a", b"within the lease")

    lease = PrimaryLease(main.settings.data_path)
    record = lease.read()
    assert record is not None
    lease.write(record.model_copy(update={"valid_until": host_clock() - 0.001}))

    with pytest.raises(NotPrimary, match="cannot renew its lease"):
        main.add_file("file-b", b"after it")
    serving = Site(main.settings.data_path, main.settings.backup_url, fencing="on", fencing_on_loss="serve")
    serving.add_file("file-c", b"all the same")
    assert set(serving.files()) == {"file-a", "file-c"}


def test_a_lease_of_another_start_of_the_host_does_not_count(sites: tuple[Site, Site]):
    main, _ = sites
    lease = PrimaryLease(main.settings.data_path)
    record = lease.read()
    assert record is not None
    assert record.boot == boot_id()

    lease.write(record.model_copy(update={"boot": "before"}))

    with pytest.raises(NotPrimary, match="does not know yet"):
        lease.check()


def test_what_a_replaced_site_has_is_never_the_latest_backup(sites: tuple[Site, Site], tmp_path: Path):
    main, standby = sites
    main.add_file("file-a", b"old")
    first = main.back_up()
    standby.settings.database_file.unlink()
    standby.restore(in_place=True)
    take_over(standby)
    standby.add_file("file-b", b"new")
    second = standby.back_up()

    stale = Site(main.settings.data_path, main.settings.backup_url)  # as if somebody had switched fencing off
    fork = stale.back_up()
    LeaseRenewal(main.settings).renew()

    assert fork.name > second.name > first.name
    assert standby.catalog.resolve("latest") == second.name
    with pytest.raises(NotPrimary):
        main.back_up()
    with pytest.raises(NotPrimary):
        main.ship()


def test_a_site_that_takes_over_makes_no_backup_of_the_records_that_it_had_before(sites: tuple[Site, Site]):
    main, standby = sites
    main.back_up()

    LeaseRenewal(standby.settings).renew(paused=True)
    claim_next_epoch(standby)
    let_the_other_lease_run_out(standby)

    with pytest.raises(NotPrimary, match="older than those of the other site"):
        standby.back_up()


def test_writes_wait_while_the_site_hands_over(sites: tuple[Site, Site]):
    main, _ = sites
    renewal = LeaseRenewal(main.settings)
    renewal.pause(True)
    renewal.renew()
    with pytest.raises(NotPrimary, match="handing over"):
        main.add_file("file-a", b"x")

    renewal.pause(False)

    main.add_file("file-a", b"x")
    assert set(main.files()) == {"file-a"}
