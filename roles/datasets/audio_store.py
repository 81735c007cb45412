"""The audio of a data set in the storage, each file under the checksum of its samples, so that none is kept twice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common import storage_keys
from core.errors import InputGone
from core.storage import Storage

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class StoredAudio:
    """A stored mono WAV of 16 bits."""

    key: str
    sha256: str
    """Of rate and samples."""
    seconds: float
    rate: int


class AudioStore:
    """Write and read the audio of one data set."""

    def __init__(self, storage: Storage, dataset_id: str) -> None:
        self.storage = storage
        self.folder = storage_keys.dataset_audio_folder(dataset_id)
        self._new_keys: list[str] = []

    def add(self, samples: np.ndarray, rate: int) -> StoredAudio:
        """Store (N,) samples, int16 or float32 in [-1, 1]."""
        from GPT_SoVITS.audio import to_int16, write_wav

        with self.storage.temporary_file() as temporary:
            write_wav(temporary, samples if samples.dtype.kind == "i" else to_int16(samples), rate)
            return self.add_file(temporary)

    def add_file(self, path: Path) -> StoredAudio:
        """Store a mono WAV of 16 bits; the file is moved away unless its samples are stored already."""
        import soundfile

        with soundfile.SoundFile(str(path)) as file:
            digest = hashlib.sha256(f"{file.samplerate}:".encode())
            for block in file.blocks(1 << 20, dtype="int16"):
                digest.update(block.astype("<i2").tobytes())
            sha256, rate, count = digest.hexdigest(), file.samplerate, file.frames
        audio = StoredAudio(f"{self.folder}/{sha256[:32]}.wav", sha256, count / rate, rate)
        if not self.storage.exists(audio.key):
            self.storage.publish(path, audio.key)
            self._new_keys.append(audio.key)
        return audio

    def read(self, key: str, name: str) -> tuple[np.ndarray, int]:
        """Return (N,) float32 samples and their rate. Raises InputGone when the file is missing."""
        from GPT_SoVITS.audio import read_mono

        path = self.storage.path(key)
        if not path.is_file():
            raise InputGone(f"The sound of {name} is gone from the storage.", hint="Make the data set again.")
        return read_mono(path)

    def discard_new(self) -> None:
        """Delete what was added here, for a version that failed."""
        for key in self._new_keys:
            self.storage.delete(key)
        self._new_keys.clear()
