"""Files are complete or absent, also when several writers race or a writer fails."""

from __future__ import annotations

import hashlib
import threading

import pytest

from common.files import atomic_path, sha256_of_file, write_atomically


def test_a_failed_writer_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "report.json"
    target.write_bytes(b"old")

    def fail() -> None:
        with atomic_path(target) as temporary:
            temporary.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_and_its_folder_created(tmp_path, durable):
    target = tmp_path / "new" / "report.json"

    write_atomically(target, b"first", durable=durable)
    write_atomically(target, b"second", durable=durable)

    assert target.read_bytes() == b"second"
    assert list(target.parent.iterdir()) == [target]


def test_threads_that_write_one_file_do_not_mix(tmp_path):
    target = tmp_path / "shared"
    contents = [bytes([number]) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=write_atomically, args=(target, content)) for content in contents]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert target.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [target]


def test_the_checksum_is_that_of_the_content(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"weights" * 100_000)

    assert sha256_of_file(path) == hashlib.sha256(path.read_bytes()).hexdigest()
