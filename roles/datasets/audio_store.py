"""The sounds of a data set in the storage, each under the hash of its samples, so that none is kept twice."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import InputGone
from core.storage import Storage

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Sound:
    """A stored mono WAV of 16 bits."""

    key: str
    sha256: str
    """Of rate and samples."""
    seconds: float
    rate: int


class Sounds:
    """Keeps and reads the sounds of one data set."""

    def __init__(self, storage: Storage, dataset_id: str) -> None:
        self.storage = storage
        self.folder = f"datasets/{dataset_id}/sounds"
        self._new: list[str] = []

    def keep(self, samples: np.ndarray, rate: int) -> Sound:
        """(N,) int16, or float32 in [-1, 1], under its hash."""
        from GPT_SoVITS.audio import to_int16, write_wav

        whole = samples if samples.dtype.kind == "i" else to_int16(samples)
        temporary = self.storage.new_temporary()
        try:
            write_wav(temporary, whole, rate)
            return self.keep_file(temporary)
        finally:
            temporary.unlink(missing_ok=True)

    def keep_file(self, path: Path) -> Sound:
        """A mono WAV of 16 bits under its hash, read a piece at a time; the file itself moves or stays."""
        import soundfile

        with soundfile.SoundFile(str(path)) as file:
            digest = hashlib.sha256(f"{file.samplerate}:".encode())
            for block in file.blocks(1 << 20, dtype="int16"):
                digest.update(block.astype("<i2").tobytes())
            sha256, rate, count = digest.hexdigest(), file.samplerate, file.frames
        sound = Sound(f"{self.folder}/{sha256[:32]}.wav", sha256, count / rate, rate)
        if not self.storage.exists(sound.key):
            self.storage.publish(path, sound.key)
            self._new.append(sound.key)
        return sound

    def read(self, key: str, name: str) -> tuple[np.ndarray, int]:
        """(N,) float32 and the rate. InputGone when it is not there any more."""
        from GPT_SoVITS.audio import read_mono

        path: Path = self.storage.path(key)
        if not path.is_file():
            raise InputGone(f"The sound of {name} is gone from the storage.", hint="Make the data set again.")
        return read_mono(path)

    def forget_new(self) -> None:
        """Delete what was kept here for a version that came to nothing."""
        for key in self._new:
            self.storage.delete(key)
        self._new.clear()


@contextmanager
def workspace(storage: Storage) -> Iterator[Path]:
    """A folder on the storage's own disk, gone at the end."""
    folder = storage.new_temporary()
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
