"""Limits that were changed at run time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LimitRecord:
    """How many jobs of a kind a device may run at once; None leaves it to the settings."""

    device: str
    """`cpu`, `cuda` (each GPU) or `cuda:N`, on every host."""
    training: int | None
    inference: int | None
    updated_at: float
