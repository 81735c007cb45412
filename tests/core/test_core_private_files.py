"""A data folder is private to its owner, whatever it was before."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest

from core.private_files import make_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """Return a data folder that everybody can read, with a file and a program."""
    data = tmp_path / "data"
    (data / "storage").mkdir(parents=True)
    (data / "records.sqlite3").write_text("records")
    (data / "storage" / "tool").write_text("program")
    for path, bits in ((data, 0o755), (data / "storage", 0o777), (data / "records.sqlite3", 0o644)):
        path.chmod(bits)
    (data / "storage" / "tool").chmod(0o755)
    return data


def test_a_new_folder_is_private_and_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    make_private(tmp_path / "data")

    assert mode(tmp_path / "data") == 0o700
    assert caplog.messages == []


def test_an_open_folder_is_tightened_with_all_in_it_and_says_so_once(
    open_folder: Path, caplog: pytest.LogCaptureFixture
):
    make_private(open_folder)
    make_private(open_folder)

    assert mode(open_folder) == mode(open_folder / "storage") == 0o700
    assert mode(open_folder / "records.sqlite3") == 0o600
    assert mode(open_folder / "storage" / "tool") == 0o700
    [message] = caplog.messages
    assert "could be read by other users" in message
    assert str(open_folder) in message


def test_files_that_an_earlier_version_left_open_in_a_private_folder_are_tightened(open_folder: Path):
    open_folder.chmod(0o700)

    make_private(open_folder)

    assert mode(open_folder / "records.sqlite3") == 0o600


def test_a_folder_that_is_opened_again_is_tightened_again(open_folder: Path, caplog: pytest.LogCaptureFixture):
    make_private(open_folder)
    open_folder.chmod(0o750)
    (open_folder / "records.sqlite3").chmod(0o640)

    make_private(open_folder)

    assert mode(open_folder) == 0o700
    assert mode(open_folder / "records.sqlite3") == 0o600
    assert len(caplog.messages) == 2


def test_what_links_point_to_stays_as_it_is(open_folder: Path, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.write_text("of somebody else")
    outside.chmod(0o644)
    (open_folder / "link").symlink_to(outside)

    make_private(open_folder)

    assert mode(outside) == 0o644


def test_a_folder_for_everybody_keeps_its_mode_and_that_is_said(open_folder: Path, caplog: pytest.LogCaptureFixture):
    open_folder.chmod(0o1777)

    make_private(open_folder)

    assert mode(open_folder) == 0o1777
    assert "shared with other users" in caplog.messages[0]
