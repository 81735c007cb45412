"""Deletion of expired speech and temporary files."""

from __future__ import annotations

import os
from pathlib import Path

from api.services import sweeper
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
