"""A disk that takes nothing: the stage says so, leaves nothing half-written, and runs once the fault is gone."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.errors import BadAudio, InputGone, NoSpeech, StorageFull
from GPT_SoVITS.errors import ModelError
from roles.runtime.storage_errors import storage_faults

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]


def on_faulty_disk(fault: str, stage: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "faulty_disk.py"), fault, stage, str(folder)]
    if fault != "limit":
        command = ["unshare", "-rm", *command]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(REPOSITORY), str(HERE.parent)))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def can_mount() -> bool:
    """Whether this user may have a file system of its own."""
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    )
    return tried.returncode == 0


needs_mount = pytest.mark.skipif(not can_mount(), reason="needs a mount namespace")


@pytest.mark.slow
def test_a_file_that_may_not_grow_fails_the_stage_as_a_full_disk_does(tmp_path):
    seen = on_faulty_disk("limit", "audio_slice", tmp_path)

    assert seen["error"]["code"] == "storage_full"
    assert seen["left"] == []
    assert seen["after"]["segments"]


@pytest.mark.slow
@needs_mount
@pytest.mark.parametrize(("stage", "output"), [("convert", "seconds"), ("audio_slice", "segments")])
def test_a_full_disk_fails_the_stage_with_what_to_do_and_leaves_nothing(tmp_path, stage, output):
    seen = on_faulty_disk("full", stage, tmp_path / "disk")

    assert seen["error"]["code"] == "storage_full"
    assert "Make room" in seen["error"]["hint"]
    assert seen["left"] == []
    assert seen["after"][output]


@pytest.mark.slow
@needs_mount
def test_a_read_only_folder_fails_the_stage_with_what_to_do(tmp_path):
    seen = on_faulty_disk("read_only", "audio_slice", tmp_path / "disk")

    assert seen["error"]["code"] == "storage_read_only"
    assert "the right to write" in seen["error"]["hint"]
    assert seen["left"] == []
    assert seen["after"]["segments"]


def test_an_error_of_a_library_stays_what_it_is_while_the_disk_is_well(tmp_path):
    with pytest.raises(RuntimeError, match="of its own"), storage_faults(tmp_path):
        raise RuntimeError("a fault of its own")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error", [NoSpeech("Nobody speaks."), ModelError("bad_audio", "Silent."), BadAudio("No sound.")]
)
def test_what_is_wrong_with_a_recording_is_not_blamed_on_the_disk(tmp_path, error):
    with pytest.raises(type(error)), storage_faults(tmp_path):
        raise error


def test_a_file_that_vanished_while_it_was_read_is_named(tmp_path):
    folder = tmp_path / "experiments" / "exp-1"
    folder.mkdir(parents=True)

    with pytest.raises(InputGone, match=r"transcripts\.list is no longer in"), storage_faults(folder):
        (folder / "transcripts.list").read_bytes()


def test_a_full_disk_is_known_by_its_number_on_any_file(tmp_path):
    with pytest.raises(StorageFull, match="is full"), storage_faults(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
