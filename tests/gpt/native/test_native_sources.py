"""What a source distribution has: everything that the decoder in C++ is built from."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
SETUP = "from setuptools import setup; setup()"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")
def test_the_decoder_is_built_from_what_a_source_distribution_has(tmp_path: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=True).stdout
    for name in tracked.decode().split("\0"):
        source = REPOSITORY / name
        if name.endswith((".py", ".toml", ".cpp", ".h", ".inc", "README.md")) and source.is_file():
            (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, tmp_path / "tree" / name)
    run_setup(tmp_path / "tree", "sdist", "--dist-dir", str(tmp_path))
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as contents:
        contents.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()

    run_setup(unpacked, "build_ext", "--build-lib", str(tmp_path / "built"))

    (library,) = (tmp_path / "built").rglob("_decoder*.so")
    sovitsd_kernels = ctypes.CDLL(str(library)).sovitsd_kernels
    sovitsd_kernels.restype = ctypes.c_char_p
    assert sovitsd_kernels(b"portable") == b"portable"


def run_setup(folder: Path, *command: str) -> None:
    """Run a command of setuptools, without optimization: only what is there counts."""
    environment = {**os.environ, "CFLAGS": "-g0", "CXXFLAGS": "-g0"}
    finished = subprocess.run(
        [sys.executable, "-c", SETUP, "-q", *command], cwd=folder, capture_output=True, text=True, env=environment
    )
    assert finished.returncode == 0, finished.stderr
