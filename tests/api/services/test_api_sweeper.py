"""Deletion of expired speech and temporary files."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from api.services import sweeper
from core.settings import REPOSITORY
from core.storage import Storage


def test_old_speech_is_swept_and_new_speech_stays(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    for key in ("speech/old/0.wav", "speech/new/0.wav", "audio/old.wav", "audio/new.wav", "files/old"):
        storage.put_bytes(key, b"sound")
    for key in ("speech/old", "audio/old.wav", "files/old"):
        os.utime(storage.path(key), (0, 0))
    now = storage.path("audio/new.wav").stat().st_mtime

    count = sweeper.sweep(storage, speech_seconds=100, now=now)

    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert count == 2
    assert left == ["audio/new.wav", "files/old", "speech/new/0.wav"]


def test_temporary_files_of_a_dead_process_are_swept_at_once_and_those_of_a_living_one_stay(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    own = storage.new_temporary()
    own.write_bytes(b"being written")
    program = (
        "import pathlib, sys; from core.storage import Storage\n"
        "storage = Storage(pathlib.Path(sys.argv[1]))\n"
        "storage.new_temporary().write_bytes(b'half'); storage.new_temporary().mkdir(); print(flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while_alive = sweeper.sweep(storage, speech_seconds=100, now=time.time())
        process.kill()
        process.wait()

        after = sweeper.sweep(storage, speech_seconds=100, now=time.time())

    assert (while_alive, after) == (0, 2)
    assert list((tmp_path / ".tmp").iterdir()) == [own]
