"""Headers of checkpoints that were tampered with."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import Conflict
from core.records import CheckpointRecord
from core.storage import Storage
from core.voices.checks import check_pair


@pytest.mark.parametrize("header", [b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b"{"])
def test_a_header_nested_without_end_is_damaged(tmp_path: Path, header: bytes) -> None:
    storage = Storage(tmp_path)
    storage.put_bytes("checkpoints/a.safetensors", len(header).to_bytes(8, "little") + header)
    gpt, sovits = (checkpoint(kind) for kind in ("gpt", "sovits"))

    with pytest.raises(Conflict, match="damaged"):
        check_pair(gpt, sovits, storage)


def checkpoint(kind: str) -> CheckpointRecord:
    return CheckpointRecord(
        id=f"ckpt-{kind}",
        kind=kind,
        version="nano",
        name=kind,
        exp_id=None,
        epoch=None,
        step=None,
        metrics={},
        sha256="0" * 64,
        size_bytes=1,
        storage_key="checkpoints/a.safetensors",
        promoted=False,
        created_at=0.0,
    )
