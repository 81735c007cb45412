"""API keys."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiKeyRecord:
    """An API key; the key itself is shown once and not stored."""

    id: str
    name: str
    key_hash: str
    """SHA-256, hexadecimal."""
    shown: str
    """The first characters of the key, to recognize it by."""
    admin: bool
    created_at: float
    last_used_at: float | None
    revoked_at: float | None
