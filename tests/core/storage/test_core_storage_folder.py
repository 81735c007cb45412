"""Artefacts are whole or absent, and never outside the root."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from core.errors import InvalidRequest
from core.storage import Storage
from core.storage.bucket_storage import BucketStorage


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return Storage(tmp_path / "storage")
    return BucketStorage(request.getfixturevalue("buckets").new_bucket(), tmp_path / "storage", 1 << 30)


@pytest.mark.parametrize(
    "key",
    [
        "",
        ".",
        "..",
        "../secret",
        "files/../../secret",
        "/etc/passwd",
        "files//one",
        "files/one/",
        "files/.hidden",
        "files/a\\b",
        "files/a\x00b",
        "files/a b",
        "files/" + "a" * 201,
        ".tmp/other",
        "files/one\n",
    ],
)
def test_a_key_that_could_leave_the_root_is_refused(storage, key):
    with pytest.raises(InvalidRequest, match="is no storage key"):
        storage.path(key)


def test_a_key_says_where_its_artefact_lies(storage):
    assert storage.path("voices/voice-1/prompt.wav") == storage.root / "voices" / "voice-1" / "prompt.wav"


def test_bytes_that_were_put_are_there(storage):
    storage.put_bytes("files/file-1", b"sound")

    assert storage.path("files/file-1").read_bytes() == b"sound"
    assert storage.exists("files/file-1")
    assert storage.size("files/file-1") == 5


def test_publishing_moves_the_file_and_replaces_an_older_one(storage):
    storage.put_bytes("files/file-1", b"old")
    temporary = storage.new_temporary()
    temporary.write_bytes(b"new")

    storage.publish(temporary, "files/file-1")

    assert storage.path("files/file-1").read_bytes() == b"new"
    assert not temporary.exists()


def test_a_failed_publish_leaves_the_older_artefact_alone(storage):
    storage.put_bytes("files/file-1", b"old")

    with pytest.raises(FileNotFoundError):
        storage.publish(storage.new_temporary(), "files/file-1")

    assert storage.path("files/file-1").read_bytes() == b"old"


def test_a_refused_key_leaves_no_temporary_file(storage):
    with pytest.raises(InvalidRequest):
        storage.put_bytes("../outside", b"sound")

    assert storage.used_bytes() == 0


def test_two_temporary_paths_differ(storage):
    assert storage.new_temporary() != storage.new_temporary()


def test_a_copy_outlives_its_original(storage):
    storage.put_bytes("experiments/exp-1/prompt.wav", b"sound")

    storage.copy("experiments/exp-1/prompt.wav", "voices/voice-1/prompt.wav")
    storage.delete_folder("experiments/exp-1")

    assert storage.path("voices/voice-1/prompt.wav").read_bytes() == b"sound"
    assert not storage.exists("experiments/exp-1/prompt.wav")


def test_deleting_says_whether_there_was_something(storage):
    storage.put_bytes("files/file-1", b"sound")

    assert storage.delete("files/file-1") is True
    assert storage.delete("files/file-1") is False


def test_deleting_a_folder_that_is_not_there_is_fine(storage):
    storage.delete_folder("experiments/exp-1")

    assert not storage.exists("experiments/exp-1")


def test_a_folder_is_no_artefact(storage):
    folder = storage.folder("experiments/exp-1/train")

    assert folder.is_dir()
    assert not storage.exists("experiments/exp-1/train")


def test_used_bytes_counts_everything_under_the_root(tmp_path):
    storage = Storage(tmp_path / "storage")
    storage.put_bytes("files/file-1", b"12345")
    storage.new_temporary().write_bytes(b"678")

    assert storage.used_bytes() == 8


def test_what_is_old_is_swept_and_what_is_new_stays(storage):
    storage.put_bytes("speech/job-1/0.wav", b"sound")

    assert storage.sweep("speech", time.time() - 60) == 0
    assert storage.exists("speech/job-1/0.wav")
    assert storage.sweep("speech", time.time() + 60) == 1
    assert not storage.exists("speech/job-1/0.wav")
    assert storage.sweep("speech", time.time() + 60) == 0


def test_a_copy_of_nothing_is_refused(storage):
    with pytest.raises(FileNotFoundError):
        storage.copy("files/file-9", "files/file-1")


def test_an_empty_storage_uses_nothing(storage):
    assert storage.used_bytes() == 0
