"""Backups and restores: one consistent state, only what is new is sent, and nothing wrong is ever taken as good."""

from __future__ import annotations

import gzip
import os
import signal
import sqlite3
import time
from pathlib import Path

import pytest
from backup_sites import Site, start_main
from daemon_stage import until

from core.errors import Conflict, NotFound
from recovery.backup.changes import read_batches
from recovery.backup.local_state import LocalState
from recovery.backup.names import manifest_key, object_key
from recovery.backup.objects import PART_BYTES
from recovery.backup.retention import prune
from recovery.backup.signatures import BadBackup
from recovery.backup.site_check import SiteDiffers
from recovery.backup.target import FolderTarget
from recovery.backup.verify import verify_backup


@pytest.fixture
def main_site(tmp_path: Path) -> Site:
    """One that backs up to a folder."""
    return Site(tmp_path / "main", str(tmp_path / "target")).open()


@pytest.fixture
def standby(tmp_path: Path) -> Site:
    return Site(tmp_path / "standby", str(tmp_path / "target"))


@pytest.mark.parametrize("place", ["folder and SQLite", "bucket and PostgreSQL"])
def test_a_restored_site_has_every_record_and_file(place: str, request: pytest.FixtureRequest, tmp_path: Path):
    target, outside = f"file://{tmp_path}/target", ""
    if place == "bucket and PostgreSQL":
        target = request.getfixturevalue("buckets").new_bucket()
        outside = request.getfixturevalue("postgres").migrated_database()
    main = Site(tmp_path / "main", target, outside).open()
    big = os.urandom(PART_BYTES + 5)
    main.add_file("file-a", b"first")
    main.add_file("file-b", big)
    main.back_up()
    main.add_file("file-c", b"after the backup")
    main.delete_file("file-a")
    main.ship()

    other = Site(tmp_path / "other", target)  # SQLite, whatever the main site has
    marker = other.restore()

    assert other.files() == {"file-b": big, "file-c": b"after the backup"}
    assert marker.batches == 1
    assert other.integrity() == "ok"


def test_records_in_postgresql_are_replaced_in_place_and_those_of_before_are_kept_beside(
    request: pytest.FixtureRequest, main_site: Site, tmp_path: Path
):
    main_site.add_file("file-a", b"of the main site")
    main_site.back_up()
    other = Site(
        tmp_path / "other", main_site.settings.backup_url, request.getfixturevalue("postgres").migrated_database()
    )
    other.add_file("file-b", b"of before")

    other.restore(in_place=True)

    assert other.files() == {"file-a": b"of the main site"}
    (kept,) = other.settings.data_path.glob(".before-restore-*-records.jsonl.gz")
    assert b'"id":"file-b"' in gzip.decompress(kept.read_bytes())


def test_records_follow_a_backup_while_a_service_reads_them(main_site: Site, standby: Site):
    main_site.add_file("file-a", b"first")
    main_site.back_up()
    standby.restore()
    with sqlite3.connect(standby.settings.database_file, isolation_level=None) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT id FROM files").fetchall() == [("file-a",)]
        main_site.delete_file("file-a")
        main_site.add_file("file-b", b"second")
        main_site.ship()

        standby.restore(live=True)

        assert reader.execute("SELECT id FROM files").fetchall() == [("file-a",)]  # the state that it began with
        reader.execute("COMMIT")
        assert reader.execute("SELECT id FROM files").fetchall() == [("file-b",)]
    assert standby.files() == {"file-b": b"second"}


def test_no_change_follows_a_backup_from_before_a_restore(main_site: Site, standby: Site):
    main_site.add_file("file-a", b"first")
    old = main_site.back_up()
    main_site.settings.database_file.unlink()

    main_site.restore(in_place=True)
    main_site.add_file("file-b", b"second")

    assert main_site.ship() == 0
    assert LocalState.of(main_site.settings).status().restored_at > old.created_at
    main_site.back_up()
    main_site.add_file("file-c", b"third")
    assert main_site.ship() > 0
    standby.restore()
    assert set(standby.files()) == {"file-a", "file-b", "file-c"}


def test_the_second_backup_of_an_unchanged_site_sends_kilobytes(main_site: Site):
    main_site.add_file("file-a", os.urandom(3 << 20))
    main_site.back_up()
    first = main_site.bytes_written

    main_site.back_up()

    assert first > 3 << 20
    assert main_site.bytes_written < 10_000


def test_a_backup_counts_when_its_manifest_is_there_and_has_a_line_in_the_log(main_site: Site):
    manifest = main_site.back_up()

    line = main_site.target.read("manifest.log").decode().split()
    assert manifest.name.startswith("gpt-sovits-backup-")
    assert line[1] == manifest.name
    assert len(line[0]) == 64
    assert main_site.catalog.resolve("latest") == manifest.name


def test_records_stay_writable_and_the_backup_is_one_state_while_others_write(main_site: Site):
    for number in range(20):
        main_site.add_file(f"file-{number}", b"x" * number)
    with sqlite3.connect(main_site.settings.database_file) as writer:
        writer.execute("BEGIN IMMEDIATE")  # a transaction that is open all the while
        writer.execute("UPDATE files SET filename = 'half-written'")
        manifest = main_site.back_up()
        writer.rollback()

    main_site.settings.database_file.unlink()
    restored = Site(main_site.settings.data_path.with_name("restored"), main_site.settings.backup_url)
    restored.restore(manifest.name)

    assert len(restored.files()) == 20
    with sqlite3.connect(restored.settings.database_file) as reader:
        assert not reader.execute("SELECT 1 FROM files WHERE filename = 'half-written'").fetchall()


def test_changes_follow_the_backup_that_is_being_made_as_well(main_site: Site, standby: Site):
    main_site.back_up()
    main_site.add_file("file-a", b"between")
    main_site.ship()
    second = main_site.back_up()
    main_site.add_file("file-b", b"after both")
    main_site.ship()
    main_site.ship()  # nothing new: no batch

    standby.restore(second.name)

    assert standby.files() == {"file-a": b"between", "file-b": b"after both"}
    assert len(list(read_batches(standby.catalog, second.name))) == 1


def test_a_row_that_changes_while_it_is_sent_is_sent_again(main_site: Site):
    main_site.back_up()
    main_site.add_file("file-a", b"one")
    with sqlite3.connect(main_site.settings.database_file) as connection:
        before = connection.execute("SELECT number FROM record_changes").fetchall()
        connection.execute("UPDATE files SET filename = 'renamed'")
        after = connection.execute("SELECT number FROM record_changes").fetchall()

    assert before
    assert not set(before) & set(after)


@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_a_damaged_object_is_named_by_verify_and_rejected_by_restore(main_site: Site, standby: Site, damage: str):
    main_site.add_file("file-a", b"precious bytes")
    manifest = main_site.back_up()
    entry = next(file for file in main_site.catalog.files(manifest, main_site.store) if "file-a" in file.path)
    path = Path(main_site.settings.backup_url, object_key(entry.sha256))
    path.write_bytes(b"precious bytez") if damage == "flipped" else path.unlink()

    result = verify_backup(main_site.catalog, main_site.store, manifest.name)
    with pytest.raises(BadBackup, match=entry.sha256):
        standby.restore()

    assert len(result.problems) == 1
    assert "storage/files/file-a" in result.problems[0]
    main_site.back_up(check_all=True)  # the main site still has it
    assert standby.restore().finished_at
    assert standby.files() == {"file-a": b"precious bytes"}


def test_a_manifest_that_was_changed_or_signed_by_somebody_else_is_rejected(
    main_site: Site, standby: Site, tmp_path: Path
):
    manifest = main_site.back_up()
    trusting = Site(tmp_path / "trusting", main_site.settings.backup_url, backup_public_keys="AAAA")
    with pytest.raises(BadBackup, match="signed by the key") as error:
        trusting.restore(manifest.name)
    key = manifest_key(manifest.name)
    main_site.target.write(key, main_site.target.read(key).replace(b"file_count", b"file_c0unt"))

    with pytest.raises(BadBackup, match="signature"):
        standby.restore(manifest.name)
    with pytest.raises(NotFound, match="no good backup"):
        standby.restore("latest")
    assert main_site.catalog.signer.public_key in error.value.hint


def test_a_batch_of_changes_that_is_missing_or_out_of_order_stops_a_restore(main_site: Site, standby: Site):
    manifest = main_site.back_up()
    for number in range(3):
        main_site.add_file(f"file-{number}", b"x")
        main_site.ship()
    changes = Path(main_site.settings.backup_url, "changes", manifest.name)
    (changes / "0000000002.json").unlink()

    with pytest.raises(BadBackup, match=r"Batch 2 .* is missing"):
        standby.restore()
    assert standby.restore(changes_until=1).batches == 1
    assert set(standby.files()) == {"file-0"}


def test_a_restore_needs_an_empty_folder_and_moves_what_is_there_aside_by_force(main_site: Site, standby: Site):
    main_site.add_file("file-a", b"x")
    main_site.back_up()
    folder = standby.settings.data_path
    folder.mkdir()
    (folder / "diary.txt").write_text("mine")

    with pytest.raises(Conflict, match=r"not empty: it has diary\.txt"):
        standby.restore()
    standby.restore(force=True)

    assert [path.read_text() for path in folder.glob(".before-restore-*/diary.txt")] == ["mine"]
    standby.add_file("file-b", b"served since")
    with pytest.raises(Conflict, match="not empty"):
        standby.restore()


def test_a_backup_of_a_newer_schema_is_rejected_with_the_version_to_install(main_site: Site, standby: Site):
    with sqlite3.connect(main_site.settings.database_file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    manifest = main_site.back_up()

    with pytest.raises(BadBackup, match="9999, which is newer") as error:
        standby.restore()

    assert manifest.environment.code in error.value.hint


def test_a_backup_of_an_older_schema_is_migrated(tmp_path: Path, standby: Site):
    from core.records import upgrade

    main = Site(tmp_path / "old", str(tmp_path / "target"))
    upgrade(main.url, "0009")
    with sqlite3.connect(main.settings.database_file) as connection:
        connection.execute("INSERT INTO limits (device, training, updated_at) VALUES ('cpu', 3, 1.5)")
    main.back_up()

    standby.restore()

    with sqlite3.connect(standby.settings.database_file) as connection:
        assert connection.execute("SELECT device, training, updated_at FROM limits").fetchall() == [("cpu", 3, 1.5)]
        assert connection.execute("SELECT count(*) FROM consents").fetchone() == (0,)


def test_a_site_without_the_keys_of_the_main_site_is_not_ready(main_site: Site, standby: Site):
    key = main_site.settings.data_path / "marks.key"
    key.write_bytes(b"k" * 32)
    manifest = main_site.back_up()
    assert "watermark" in manifest.keys
    for path in Path(main_site.settings.backup_url).rglob("*"):
        assert not path.is_file() or b"k" * 32 not in path.read_bytes()

    with pytest.raises(SiteDiffers, match=r"the watermark key .* is missing here"):
        standby.restore()
    (standby.settings.data_path / "marks.key").write_bytes(b"k" * 32)

    assert standby.restore().finished_at


def test_settings_go_into_a_backup_without_secrets(tmp_path: Path):
    site = Site(
        tmp_path / "main",
        str(tmp_path / "target"),
        valid_api_keys="sk-very-secret",
        redis_url="redis://user:hidden@queue.example:6379/0",
        app_name="Studio",
    ).open()

    manifest = site.back_up()

    assert manifest.settings["APP_NAME"] == "Studio"
    assert manifest.settings["REDIS_URL"] == "redis://queue.example:6379/0"
    assert "VALID_API_KEYS" in manifest.secret_settings
    content = b"".join(path.read_bytes() for path in (tmp_path / "target").rglob("*") if path.is_file())
    assert b"very-secret" not in content
    assert b"hidden" not in content


def test_prune_keeps_the_newest_good_backup_and_every_object_that_another_one_needs(main_site: Site, standby: Site):
    main_site.add_file("file-a", b"in both")
    old = main_site.back_up()
    main_site.delete_file("file-a")
    main_site.add_file("file-b", b"newer")
    new = main_site.back_up()
    target = FolderTarget(Path(main_site.settings.backup_url))
    long_ago = time.time() - 40 * 86_400
    for path in Path(target.root).rglob("objects/*/*"):
        os.utime(path, (long_ago, long_ago))

    result = prune(main_site.catalog, main_site.store, keep_days=0.0000001, keep_count=1)

    assert result.backups == [old.name]
    assert main_site.catalog.names() == [new.name]
    assert standby.restore().backup == new.name
    again = prune(main_site.catalog, main_site.store, keep_days=0.0000001, keep_count=1)
    assert (again.backups, again.objects) == ([], 0)


def test_a_backup_and_a_restore_that_were_killed_go_on_where_they_were(tmp_path: Path, main_site: Site, standby: Site):
    for number in range(4):
        main_site.add_file(f"file-{number}", os.urandom(2 << 20))
    target = Path(main_site.settings.backup_url)
    slow = {"BACKUP_URL": str(target), "BACKUP_MBIT_PER_SECOND": "40"}

    making = start_main("backup", "now", "--without-speech", DATA_PATH=str(main_site.settings.data_path), **slow)
    until(lambda: any(path.stat().st_size == 2 << 20 for path in target.glob("objects/*/*")))
    os.kill(making.pid, signal.SIGKILL)
    making.communicate()
    assert not list(target.glob("manifests/*"))
    main_site.back_up()
    assert main_site.bytes_written < 8 << 20

    folder = standby.settings.data_path
    command = ("restore", "latest", "--without-speech", "--data-path", str(folder))
    restoring = start_main(*command, **slow)
    until(lambda: any(folder.glob("storage/files/file-*")))
    os.kill(restoring.pid, signal.SIGKILL)
    restoring.communicate()
    assert not standby.settings.database_file.exists()
    standby.restore()

    assert standby.files() == main_site.files()
    assert any("of them fetched" in line and " 4 of them" not in line for line in standby.lines)


def test_an_archive_is_a_backup_by_itself(tmp_path: Path):
    main = Site(tmp_path / "main", str(tmp_path / "target"), backup_archive="on").open()
    main.add_file("file-a", b"in the archive")
    manifest = main.back_up()
    copy = tmp_path / manifest.name
    copy.write_bytes((tmp_path / "target" / manifest.name).read_bytes())

    command = start_main(
        "restore", "latest", "--from", str(copy), "--data-path", str(tmp_path / "other"), "--without-speech", "--json"
    )
    output, errors = command.communicate(timeout=120)

    assert command.returncode == 0, errors
    assert '"ready":true' in output
    assert Site(tmp_path / "other", "").files() == {"file-a": b"in the archive"}
