"""A stage on a disk with a fault, and again without it: `faulty_disk.py FAULT STAGE FOLDER`, in a process of its own.

It prints one line of JSON: the error, what lay in the experiment's folder after it, and the outputs of the second run.
The faults `full` and `read_only` want a mount namespace of their own (`unshare -rm`); `limit` wants nothing.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from tiny_experiment import RATE, TinyExperiment, speech_like

from core.errors import ErrorData, SovitsError
from core.stages.outputs import StageOutputs
from core.stages.parameter_schema import parse_parameters
from GPT_SoVITS.audio import write_wav
from roles.preprocessor import Preprocessor
from roles.runtime.errors import model_errors
from roles.runtime.storage_errors import storage_faults
from roles.stages.stage_run import StageRun

SECONDS = 14.0
SMALLEST = 100_000
"""Bytes; every segment is larger."""


class Limit:
    """No file may grow beyond a size."""

    def __init__(self, folder: Path) -> None:
        """Nothing to prepare."""

    def begin(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (SMALLEST, resource.RLIM_INFINITY))

    def end(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


class Full:
    """A file system of 8 MB, on which something else takes all but a little."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], check=True)
        self.other = folder / "other"

    def begin(self) -> None:
        with self.other.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                file.truncate(file.tell() - SMALLEST)

    def end(self) -> None:
        self.other.unlink()


class Disk(Protocol):
    """A file system that does not store what is written while it is at fault."""

    def begin(self) -> None: ...

    def end(self) -> None: ...


class ReadOnly:
    """A file system on which nothing can be written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], check=True)

    def begin(self) -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(self.folder)], check=True)

    def end(self) -> None:
        subprocess.run(["mount", "-o", "remount,rw", str(self.folder)], check=True)


FAULTS: dict[str, Callable[[Path], Disk]] = {"limit": Limit, "full": Full, "read_only": ReadOnly}


def main(fault: str, stage: str, folder: Path) -> None:
    disk = FAULTS[fault](folder)
    family = TinyExperiment(folder, "nano")
    upload = family.storage.folder("files") / "file-tiny"
    write_wav(upload, speech_like(SECONDS, seed=1), RATE)
    if stage == "audio_slice":
        perform(family, "convert")
    before = left(family)
    disk.begin()
    try:
        perform(family, stage)
        error: ErrorData | dict[str, Any] = {}
    except SovitsError as raised:
        error = raised.as_dict()
    half_written = [name for name in left(family) if name not in before]
    disk.end()
    print(json.dumps({"error": error, "left": half_written, "after": perform(family, stage)}))


def perform(family: TinyExperiment, stage: str) -> StageOutputs:
    """As a worker does it, but for the queue."""
    run = StageRun(
        family.experiment,
        stage,
        1,
        parse_parameters(stage, {}),
        family.outputs,
        family.folder,
        family._services(),
        family._context(),
    )
    with model_errors(), storage_faults(family.folder):
        return Preprocessor().perform(run)


def left(family: TinyExperiment) -> list[str]:
    return sorted(str(path.relative_to(family.folder)) for path in family.folder.rglob("*"))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
