"""Entries of ZIP archives whose bytes depend on nothing but names and contents."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Final

ENTRY_DATE: Final = (1980, 1, 1, 0, 0, 0)
"""The oldest date that an archive can hold; with it, equal contents give equal archives."""
_BLOCK_BYTES: Final = 1 << 20


def add_bytes(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """Add an entry with this content."""
    archive.writestr(zipfile.ZipInfo(name, ENTRY_DATE), content)


def add_file(archive: zipfile.ZipFile, name: str, path: Path) -> None:
    """Add a copy of a file, a block at a time."""
    info = zipfile.ZipInfo(name, ENTRY_DATE)
    info.file_size = path.stat().st_size
    with path.open("rb") as source, archive.open(info, "w") as entry:
        shutil.copyfileobj(source, entry, _BLOCK_BYTES)
