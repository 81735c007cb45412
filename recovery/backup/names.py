"""Names of backups, and the keys under which their objects lie in a target."""

from __future__ import annotations

import re
import time
from typing import Final

from common.program_name import program_name
from core.errors import InvalidRequest

OBJECTS: Final = "objects"
MANIFESTS: Final = "manifests"
CHANGES: Final = "changes"
EPOCHS: Final = "epochs"
LOG_KEY: Final = "manifest.log"
"""One line for each backup; it only grows."""
LATEST: Final = "latest"
"""Stands for the newest backup in commands."""
_NAME: Final = re.compile(r"gpt-sovits-backup-\d{8}-\d{6}\.tar\.gz")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def backup_name(at: float) -> str:
    """Return the name of a backup that begins at a time, in local time."""
    return time.strftime("gpt-sovits-backup-%Y%m%d-%H%M%S.tar.gz", time.localtime(at))


def check_backup_name(name: str) -> str:
    """Return a backup's name with its ending, which may be left out; raise InvalidRequest for what is none."""
    whole = name if name.endswith(".tar.gz") else f"{name}.tar.gz"
    if not _NAME.fullmatch(whole):
        raise InvalidRequest(
            f"{name!r} is no name of a backup.",
            hint=f"They are like gpt-sovits-backup-20261130-020000.tar.gz; `{program_name()} backup list` shows them.",
        )
    return whole


def is_sha256(text: str) -> bool:
    """Return whether a text is a SHA-256 in hexadecimal."""
    return _SHA256.fullmatch(text) is not None


def object_key(sha256: str) -> str:
    """Return the key of the object with these bytes."""
    return f"{OBJECTS}/{sha256[:2]}/{sha256}"


def manifest_key(name: str) -> str:
    """Return the key of a backup's manifest."""
    return f"{MANIFESTS}/{name}.json"


def changes_key(name: str, number: int) -> str:
    """Return the key of a batch of changes after a backup; batches are numbered from 1."""
    return f"{CHANGES}/{name}/{number:010}.json"


def epoch_key(number: int) -> str:
    """Return the key of the object that says which site is the primary since its epoch."""
    return f"{EPOCHS}/epoch-{number}"
