"""Checksums of official weights: pinned in the catalog where publicly known, else recorded at the first download.

The record is a file in the folder of weights. What differs from it later is rejected, whoever serves it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from filelock import FileLock

from common.files import write_atomically
from GPT_SoVITS.checkpoints.catalog import OfficialFile
from GPT_SoVITS.errors import ModelError

RECORD: Final = "checksums.json"
"""File in the folder of weights: path below the folder → SHA-256 in hex."""


def check_checksum(folder: Path, file: OfficialFile, sha256: str) -> None:
    """Compare a file's SHA-256 with the pinned or the recorded one; record it when there is neither.

    Raises:
        ModelError: "bad_download" for another checksum, "bad_record" when the record cannot be read.
    """
    record = folder / RECORD
    if file.sha256:
        if sha256 != file.sha256:
            raise _differs(file, sha256, f"the catalogue says {file.sha256}", "Another mirror may have the right one.")
        return
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{RECORD}.lock"):
        recorded = _read(record)
        recorded_sha256 = recorded.setdefault(file.path, sha256)
        if recorded_sha256 != sha256:
            hint = f"If the change is meant, remove the line of {file.path} from {record} and start again."
            raise _differs(file, sha256, f"{recorded_sha256} was recorded at the first download", hint)
        write_atomically(record, json.dumps(recorded, indent=2, sort_keys=True).encode() + b"\n")


def _read(record: Path) -> dict[str, str]:
    try:
        recorded = json.loads(record.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        recorded = None
    if not isinstance(recorded, dict):
        raise ModelError("bad_record", f"{record} is no list of checksums.", hint="Restore it, or delete it.")
    return recorded


def _differs(file: OfficialFile, sha256: str, expected: str, hint: str) -> ModelError:
    return ModelError(
        "bad_download", f"{file.path} has the SHA-256 {sha256}, and {expected}.", hint=hint, permanent=False
    )
