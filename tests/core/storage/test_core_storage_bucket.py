"""Artefacts in a bucket: every host sees the same ones, whole, and goes on with another's work."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import obstore
import pytest

from core.errors import DamagedArtifact, StorageUnavailable
from core.settings import BadSettings, read_settings
from core.storage import Storage, open_storage
from core.storage import bucket as bucket_module
from core.storage import bucket_storage as storage_bucket
from core.storage.bucket_storage import BucketStorage

PLENTY = 1 << 30


@pytest.fixture
def url(buckets) -> str:
    return buckets.new_bucket()


@pytest.fixture
def here(url: str, tmp_path: Path) -> BucketStorage:
    return BucketStorage(url, tmp_path / "here", PLENTY)


@pytest.fixture
def there(url: str, tmp_path: Path) -> BucketStorage:
    """Another host with the same bucket."""
    return BucketStorage(url, tmp_path / "there", PLENTY)


@pytest.fixture
def no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a bucket up at once."""
    monkeypatch.setattr(bucket_module, "RETRIES", 0)


class Cable:
    """A connection to the bucket that can be cut after so many bytes."""

    def __init__(self, port: int) -> None:
        self._far_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.bytes_left = 1 << 62
        self._sockets = [self._listener]
        self._threads: list[threading.Thread] = []
        self._start(self._listen)

    def close(self) -> None:
        for connection in self._sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads:
            thread.join()

    def _start(self, target, *arguments) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments))
        self._threads[-1].start()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._far_port))
                self._sockets += (near, far)
                self._start(self._carry, near, far)
                self._start(self._carry, far, near)

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while data := near.recv(65536):
                self.bytes_left -= len(data)
                if self.bytes_left < 0:
                    break
                far.sendall(data)
        for connection in (near, far):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def cable(buckets) -> Iterator[Cable]:
    connection = Cable(buckets.port)
    yield connection
    connection.close()


def write(folder: Path, **files: str) -> None:
    for name, content in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_what_one_host_publishes_another_can_read(here, there):
    here.put_bytes("voices/voice-1/prompt.wav", b"sound")

    assert there.exists("voices/voice-1/prompt.wav")
    assert there.size("voices/voice-1/prompt.wav") == 5
    assert there.path("voices/voice-1/prompt.wav").read_bytes() == b"sound"


def test_what_one_host_replaces_or_deletes_the_other_sees(here, there):
    here.put_bytes("files/file-1", b"old")
    there.path("files/file-1")

    here.put_bytes("files/file-1", b"new")
    assert there.path("files/file-1").read_bytes() == b"new"

    here.delete("files/file-1")
    assert not there.path("files/file-1").exists()


def test_a_copy_that_is_here_is_not_fetched_again(here, there, monkeypatch):
    here.put_bytes("files/file-1", b"sound")
    there.path("files/file-1")
    monkeypatch.setattr(obstore, "get", lambda *_: pytest.fail("fetched again"))

    assert there.path("files/file-1").read_bytes() == b"sound"


def test_a_copy_that_was_damaged_here_is_fetched_again(here):
    here.put_bytes("files/file-1", b"sound")
    here.path("files/file-1").write_bytes(b"noise")
    os.utime(here.root / "files/file-1", (1, 1))

    assert here.path("files/file-1").read_bytes() == b"sound"


def test_a_file_of_several_parts_comes_back_as_it_was(here, there, monkeypatch):
    monkeypatch.setattr(bucket_module, "CHUNK_BYTES", 5 << 20)
    content = os.urandom(11 << 20)

    here.put_bytes("checkpoints/ckpt-1.safetensors", content)

    assert there.path("checkpoints/ckpt-1.safetensors").read_bytes() == content


def test_an_object_with_other_bytes_than_were_stored_is_refused_and_not_kept(here, there):
    here.put_bytes("checkpoints/ckpt-1", b"weights")
    checksum = obstore.get(here.bucket._store, "checkpoints/ckpt-1").attributes
    obstore.put(here.bucket._store, "checkpoints/ckpt-1", b"weighty", attributes=checksum)

    with pytest.raises(DamagedArtifact, match=r"checkpoints/ckpt-1 came from s3://"):
        there.path("checkpoints/ckpt-1")

    assert not (there.root / "checkpoints/ckpt-1").exists()
    assert list((there.root / ".tmp").iterdir()) == []


def test_a_connection_lost_in_the_middle_of_an_upload_leaves_what_was_there(
    buckets, cable, here, tmp_path, no_retries, url
):
    here.put_bytes("files/file-1", b"old")
    far_away = BucketStorage(url.replace(f":{buckets.port}", f":{cable.port}"), tmp_path / "far", PLENTY)
    temporary = far_away.new_temporary()
    temporary.write_bytes(os.urandom(4 << 20))

    cable.bytes_left = 1 << 20
    with pytest.raises(StorageUnavailable, match="cannot be used for files/file-1"):
        far_away.publish(temporary, "files/file-1")

    assert here.path("files/file-1").read_bytes() == b"old"
    assert temporary.exists()
    cable.bytes_left = 1 << 62
    far_away.publish(temporary, "files/file-1")
    assert here.size("files/file-1") == 4 << 20


def test_a_connection_lost_in_the_middle_of_a_download_leaves_nothing_half_written(
    buckets, cable, here, tmp_path, no_retries, url
):
    here.put_bytes("files/file-1", os.urandom(4 << 20))
    far_away = BucketStorage(url.replace(f":{buckets.port}", f":{cable.port}"), tmp_path / "far", PLENTY)

    cable.bytes_left = 1 << 20
    with pytest.raises(StorageUnavailable):
        far_away.path("files/file-1")

    assert not (far_away.root / "files/file-1").exists()
    assert list((far_away.root / ".tmp").iterdir()) == []


def test_a_connection_lost_once_is_made_again(buckets, cable, here, tmp_path, url):
    far_away = BucketStorage(url.replace(f":{buckets.port}", f":{cable.port}"), tmp_path / "far", PLENTY)
    far_away.put_bytes("files/file-1", b"first")
    cable.bytes_left = 10
    threading.Timer(0.2, lambda: setattr(cable, "bytes_left", 1 << 62)).start()

    far_away.put_bytes("files/file-1", b"second")

    assert here.path("files/file-1").read_bytes() == b"second"


def test_a_bucket_that_is_not_there_is_named_without_its_secret(tmp_path, no_retries):
    storage = BucketStorage(
        "s3://voices?endpoint=http://127.0.0.1:1&access_key_id=a&secret_access_key=hidden", tmp_path, PLENTY
    )

    with pytest.raises(StorageUnavailable) as caught:
        storage.exists("files/file-1")

    assert "s3://voices" in caught.value.message
    assert "hidden" not in str(caught.value.as_dict())


def test_copies_are_deleted_the_longest_unused_first_and_fetched_again(url, here, tmp_path, monkeypatch):
    for number in range(4):
        here.put_bytes(f"files/file-{number}", bytes(1000))
    small = BucketStorage(url, tmp_path / "small", 2500)
    monkeypatch.setattr(storage_bucket, "JUST_USED_SECONDS", -1.0)

    for number in range(4):
        small.path(f"files/file-{number}")

    assert sorted(path.name for path in (small.root / "files").iterdir()) == ["file-2", "file-3"]
    assert small.path("files/file-0").read_bytes() == bytes(1000)


def test_work_that_was_saved_goes_on_at_another_host(here, there):
    with here.working("experiments/exp-1") as work:
        write(work.folder, segments__1="one", segments__2="two", list="1 2")
        work.save()

    with there.working("experiments/exp-1") as work:
        assert tree(work.folder) == {"segments/1": "one", "segments/2": "two", "list": "1 2"}
        (work.folder / "segments/2").unlink()
        write(work.folder, segments__1="first", features__1="f")
        work.save()

    with here.working("experiments/exp-1") as work:
        assert tree(work.folder) == {"segments/1": "first", "list": "1 2", "features/1": "f"}


def test_what_is_still_being_made_is_not_saved(here, there):
    with here.working("experiments/exp-1") as work:
        write(work.folder, **{".segments.making__1": "half", "list": "1", ".list.new": "1 2"})
        work.save()

    with there.working("experiments/exp-1") as work:
        assert tree(work.folder) == {"list": "1"}


def test_what_a_crash_left_is_replaced_by_what_another_host_made(here, there):
    with here.working("experiments/exp-1") as work:
        write(work.folder, segments__1="one")
        work.save()
        write(work.folder, segments__1="half", segments__9="left over", notes="mine")

    with there.working("experiments/exp-1") as work:
        write(work.folder, segments__1="ONE", segments__2="TWO")
        work.save()

    with here.working("experiments/exp-1") as work:
        assert tree(work.folder) == {"segments/1": "ONE", "segments/2": "TWO", "notes": "mine"}


def test_what_only_this_host_changed_stays_when_its_worker_was_killed(here):
    with here.working("experiments/exp-1") as work:
        write(work.folder, sovits_1__resume="epoch 1")
        work.save()
        write(work.folder, sovits_1__resume="epoch two", sovits_1__metrics="1 2")

    with here.working("experiments/exp-1") as work:
        assert tree(work.folder) == {"sovits_1/resume": "epoch two", "sovits_1/metrics": "1 2"}


def test_two_hosts_that_work_on_parts_of_one_experiment_keep_both(here, there):
    with here.working("experiments/exp-1") as sovits, there.working("experiments/exp-1") as gpt:
        write(sovits.folder, sovits_1__resume="s")
        write(gpt.folder, gpt_1__resume="g")
        gpt.save()
        sovits.save()

    with here.working("experiments/exp-1") as work:
        assert tree(work.folder) == {"sovits_1/resume": "s", "gpt_1/resume": "g"}


def test_entries_that_are_not_wanted_stay_where_they_are(here, there):
    with here.working("experiments/exp-1") as work:
        write(work.folder, sovits_1__resume="large", list="1")
        work.save()

    with there.working("experiments/exp-1", lambda entry: entry != "sovits_1") as work:
        assert tree(work.folder) == {"list": "1"}
        work.save()

    with here.working("experiments/exp-1") as work:
        assert tree(work.folder) == {"sovits_1/resume": "large", "list": "1"}


def test_only_what_changed_is_sent(here, monkeypatch):
    with here.working("experiments/exp-1") as work:
        write(work.folder, large="unchanged", small="1")
        work.save()
        sent_values: list[str] = []
        real = here.bucket.upload
        monkeypatch.setattr(here.bucket, "upload", lambda path, key: sent_values.append(key) or real(path, key))
        write(work.folder, small="two")
        work.save()

    assert sent_values == ["experiments/exp-1/small"]


def test_saving_beside_the_work_is_done_when_the_work_ends(here, there):
    with here.working("experiments/exp-1") as work:
        write(work.folder, resume="epoch 1")
        work.save_soon()
        wait_for(lambda: there.exists("experiments/exp-1/resume"))
        write(work.folder, resume="epoch two")
        work.save_soon()

    with there.working("experiments/exp-1") as work:
        assert tree(work.folder)["resume"] in ("epoch 1", "epoch two")


def test_one_file_of_a_folder_can_be_had_before_the_rest_of_it(here, there):
    with here.working("experiments/exp-1") as work:
        write(work.folder, sovits_1__e0="spoken", sovits_1__resume="large")
        work.save_file("sovits_1/e0")

        assert there.path("experiments/exp-1/sovits_1/e0").read_text() == "spoken"
        assert not there.exists("experiments/exp-1/sovits_1/resume")


def test_a_bucket_that_is_away_does_not_end_work_that_is_saved_beside_it(
    buckets, cable, tmp_path, no_retries, caplog, url
):
    far_away = BucketStorage(url.replace(f":{buckets.port}", f":{cable.port}"), tmp_path / "far", PLENTY)
    with far_away.working("experiments/exp-1") as work:
        write(work.folder, resume="epoch 1")
        cable.bytes_left = 0
        work.save_soon()
        wait_for(lambda: "could not be saved for other hosts" in caplog.text)

        cable.bytes_left = 1 << 62
        work.save()

    assert far_away.exists("experiments/exp-1/resume")


def test_copies_of_a_folder_in_which_a_stage_works_are_not_deleted(url, here, tmp_path, monkeypatch):
    with here.working("experiments/exp-1") as work:
        write(work.folder, **{f"segments__{number}": "x" * 1000 for number in range(5)})
        work.save()
    monkeypatch.setattr(storage_bucket, "JUST_USED_SECONDS", -1.0)
    small = BucketStorage(url, tmp_path / "small", 1500)

    with small.working("experiments/exp-1") as work:
        small.put_bytes("files/file-1", bytes(1000))
        assert len(tree(work.folder)) == 5

    small.put_bytes("files/file-2", bytes(1000))
    assert len(tree(small.root / "experiments")) < 5
    with small.working("experiments/exp-1") as work:
        assert len(tree(work.folder)) == 5, "what was deleted to make room is fetched, not deleted in the bucket"


def test_a_file_that_a_stage_is_changing_is_not_overwritten_by_a_reader(here):
    with here.working("experiments/exp-1") as work:
        write(work.folder, list="old")
        work.save()
        write(work.folder, list="changed")

        assert here.path("experiments/exp-1/list").read_text() == "changed"


def test_a_deleted_experiment_is_gone_everywhere(here, there):
    with here.working("experiments/exp-1") as work:
        write(work.folder, segments__1="one")
        work.save()

    there.delete_folder("experiments/exp-1")

    with here.working("experiments/exp-1") as work:
        assert tree(work.folder) == {}


def test_what_unsaved_work_left_is_swept_once_it_is_old_and_nobody_works_there(here):
    with here.working("experiments/exp-1") as work:
        write(work.folder, list="1")
        assert here.sweep_temporary(time.time() + 60) == 0
    with here.working("experiments/exp-2") as work:
        write(work.folder, list="1")
        work.save()

    assert here.sweep_temporary(time.time() - 60) == 0
    assert here.sweep_temporary(time.time() + 60) == 1
    assert [path.name for path in (here.root / "experiments").iterdir()] == ["exp-2"]


def test_a_lost_index_costs_a_second_download_and_nothing_else(here):
    here.put_bytes("files/file-1", b"sound")
    with here.working("experiments/exp-1") as work:
        write(work.folder, list="1")
        work.save()
    shutil.rmtree(here.root / ".copies")
    again = BucketStorage("s3://unused", here.root, PLENTY)
    again.bucket = here.bucket

    assert again.path("files/file-1").read_bytes() == b"sound"
    with again.working("experiments/exp-1") as work:
        assert tree(work.folder) == {"list": "1"}


def test_the_setting_decides_between_a_folder_and_a_bucket(url, tmp_path):
    assert type(open_storage(read_settings(data_path=tmp_path, storage_url=""))) is Storage
    assert open_storage(read_settings(data_path=tmp_path, storage_url=f"file://{tmp_path}/x")).root == tmp_path / "x"

    storage = open_storage(read_settings(data_path=tmp_path, storage_url=url, storage_cache_mb=7))

    assert isinstance(storage, BucketStorage)
    assert (storage.root, storage.cache_bytes) == (tmp_path / "storage", 7 << 20)
    with pytest.raises(BadSettings, match="STORAGE_URL"):
        read_settings(data_path=tmp_path, storage_url="ftp://host/folder")


def wait_for(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
