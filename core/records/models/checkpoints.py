"""Checkpoints: immutable weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCheckpointRecord:
    """Weights that are in the storage and have no record yet."""

    id: str
    kind: str
    """`gpt` or `sovits`."""
    version: str
    sha256: str
    size_bytes: int
    name: str = ""
    exp_id: str | None = None
    epoch: int | None = None
    step: int | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)
    storage_key: str = ""
    """Empty: `storage_keys.checkpoint(id)`."""


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """Immutable weights."""

    id: str
    kind: str
    """`gpt` or `sovits`."""
    version: str
    name: str
    exp_id: str | None
    epoch: int | None
    step: int | None
    metrics: Mapping[str, Any]
    sha256: str
    size_bytes: int
    storage_key: str
    promoted: bool
    """Kept when its experiment is deleted."""
    created_at: float
    lineage: Mapping[str, Any] = field(default_factory=dict)
    """Origin: `{experiment, stage, run, data, parameters, base, code}`; empty for imported weights."""
    owner: str | None = None
    """Whose it is; None: shared."""
